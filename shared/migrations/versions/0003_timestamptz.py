"""Times become timestamptz; the business's clock."""

from shared.migrations.sql_files import from_sql

revision = "0003"
down_revision = "0002"
upgrade, downgrade = from_sql(__file__)
