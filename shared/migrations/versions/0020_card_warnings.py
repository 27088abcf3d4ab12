"""Whose card was told to expire."""

from shared.migrations.sql_files import from_sql

revision = "0020"
down_revision = "0019"
upgrade, downgrade = from_sql(__file__)
