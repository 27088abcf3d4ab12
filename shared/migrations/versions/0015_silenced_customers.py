"""Customers who get no messages."""

from shared.migrations.sql_files import from_sql

revision = "0015"
down_revision = "0014"
upgrade, downgrade = from_sql(__file__)
