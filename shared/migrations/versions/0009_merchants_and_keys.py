"""Merchants' state, OAuth states, API keys, what is kept of an event."""

from shared.migrations.sql_files import from_sql

revision = "0009"
down_revision = "0008"
upgrade, downgrade = from_sql(__file__)
