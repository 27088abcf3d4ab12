"""The indexes for claims by lanes, for parked tasks and for retention."""

from shared.migrations.sql_files import from_sql

revision = "0013"
down_revision = "0012"
upgrade, downgrade = from_sql(__file__)
