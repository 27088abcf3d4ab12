"""The ledger's columns, trigger and idempotency keys."""

from shared.migrations.sql_files import from_sql

revision = "0008"
down_revision = "0007"
upgrade, downgrade = from_sql(__file__)
