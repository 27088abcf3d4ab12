"""The default policy as a document of schema 3, which says which of Stripe's own invoices are collected."""

from shared.migrations.sql_files import from_sql

revision = "0021"
down_revision = "0020"
upgrade, downgrade = from_sql(__file__)
