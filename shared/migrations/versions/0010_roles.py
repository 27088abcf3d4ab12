"""One role per service."""

from shared.migrations.sql_files import from_sql

revision = "0010"
down_revision = "0009"
upgrade, downgrade = from_sql(__file__)
