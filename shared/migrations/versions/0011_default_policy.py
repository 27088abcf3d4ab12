"""The platform's default policy."""

from shared.migrations.sql_files import from_sql

revision = "0011"
down_revision = "0010"
upgrade, downgrade = from_sql(__file__)
