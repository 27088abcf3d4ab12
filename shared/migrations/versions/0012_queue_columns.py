"""The engine's other tables: pauses, call rates, idle workers."""

from shared.migrations.sql_files import from_sql

revision = "0012"
down_revision = "0011"
upgrade, downgrade = from_sql(__file__)
