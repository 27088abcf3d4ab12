"""How far each merchant's events were looked through for what no webhook brought."""

from shared.migrations.sql_files import from_sql

revision = "0018"
down_revision = "0017"
upgrade, downgrade = from_sql(__file__)
