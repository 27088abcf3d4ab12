"""Customers that are not written to."""

from shared.migrations.sql_files import from_sql

revision = "0019"
down_revision = "0016"
upgrade, downgrade = from_sql(__file__)
