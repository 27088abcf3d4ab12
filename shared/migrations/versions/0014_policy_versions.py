"""Policies as documents of schema 2, and what a recovery remembers between two runs."""

from shared.migrations.sql_files import from_sql

revision = "0014"
down_revision = "0013"
upgrade, downgrade = from_sql(__file__)
