"""When customers answer, as learned; the platform's default policy writes in the hours in which they do."""

from shared.migrations.sql_files import from_sql

revision = "0033"
down_revision = "0032"
upgrade, downgrade = from_sql(__file__)
