"""What the report on recoveries needs, and lists of silences and card warnings."""

from shared.migrations.sql_files import from_sql

revision = "0019"
down_revision = "0018"
upgrade, downgrade = from_sql(__file__)
