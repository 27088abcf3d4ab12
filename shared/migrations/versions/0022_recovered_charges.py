"""Which charges were booked as recovered."""

from shared.migrations.sql_files import from_sql

revision = "0022"
down_revision = "0021"
upgrade, downgrade = from_sql(__file__)
