"""The five given tables, exactly."""

from shared.migrations.sql_files import from_sql

revision = "0001"
down_revision = None
upgrade, downgrade = from_sql(__file__)
