"""How far each merchant was caught up with the events that were not delivered."""

from shared.migrations.sql_files import from_sql

revision = "0018"
down_revision = "0017"
upgrade, downgrade = from_sql(__file__)
