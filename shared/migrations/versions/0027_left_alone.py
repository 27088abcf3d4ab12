"""Customers and subscriptions that are left alone, stops by an operator, and the default of schema 4."""

from shared.migrations.sql_files import from_sql

revision = "0027"
down_revision = "0026"
upgrade, downgrade = from_sql(__file__)
