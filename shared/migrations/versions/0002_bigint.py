"""Ids and amounts become bigint."""

from shared.migrations.sql_files import from_sql

revision = "0002"
down_revision = "0001"
upgrade, downgrade = from_sql(__file__)
