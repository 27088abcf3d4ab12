"""The platform's default policy plans by what is believed of customers, and learns."""

from shared.migrations.sql_files import from_sql

revision = "0032"
down_revision = "0031"
upgrade, downgrade = from_sql(__file__)
