"""Invoices whose automatic collection was turned off before they had a recovery."""

from shared.migrations.sql_files import from_sql

revision = "0029"
down_revision = "0028"
upgrade, downgrade = from_sql(__file__)
