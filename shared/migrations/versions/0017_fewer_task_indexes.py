"""Fewer index entries per task, and a public id that needs no index."""

from shared.migrations.sql_files import from_sql

revision = "0017"
down_revision = "0016"
upgrade, downgrade = from_sql(__file__)
