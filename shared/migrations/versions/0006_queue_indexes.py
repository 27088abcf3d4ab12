"""The queue's indexes, built concurrently."""

from shared.migrations.sql_files import from_sql

revision = "0006"
down_revision = "0005"
upgrade, downgrade = from_sql(__file__)
