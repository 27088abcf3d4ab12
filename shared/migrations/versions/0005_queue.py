"""The queue's columns; periodic tasks."""

from shared.migrations.sql_files import from_sql

revision = "0005"
down_revision = "0004"
upgrade, downgrade = from_sql(__file__)
