"""Policies, recoveries, attempts, timeline."""

from shared.migrations.sql_files import from_sql

revision = "0007"
down_revision = "0006"
upgrade, downgrade = from_sql(__file__)
