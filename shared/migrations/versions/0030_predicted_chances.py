"""How likely each planned attempt was to succeed, as predicted, and after which cause."""

from shared.migrations.sql_files import from_sql

revision = "0030"
down_revision = "0029"
upgrade, downgrade = from_sql(__file__)
