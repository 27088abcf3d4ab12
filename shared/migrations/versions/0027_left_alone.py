"""Customers and subscriptions that are left alone, and what an operator's stop writes."""

from shared.migrations.sql_files import from_sql

revision = "0027"
down_revision = "0026"
upgrade, downgrade = from_sql(__file__)
