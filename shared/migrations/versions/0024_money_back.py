"""Refunds and disputes of recovered money: what was said of them, and what they took from the totals."""

from shared.migrations.sql_files import from_sql

revision = "0024"
down_revision = "0023"
upgrade, downgrade = from_sql(__file__)
