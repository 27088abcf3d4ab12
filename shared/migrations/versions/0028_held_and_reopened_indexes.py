"""The indexes for held tasks and for the ends of recoveries that are opened again."""

from shared.migrations.sql_files import from_sql

revision = "0028"
down_revision = "0027"
upgrade, downgrade = from_sql(__file__)
