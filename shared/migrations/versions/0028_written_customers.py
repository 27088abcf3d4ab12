"""When each customer was written to last, and which task writes to them now; the default policy of schema 4."""

from shared.migrations.sql_files import from_sql

revision = "0028"
down_revision = "0027"
upgrade, downgrade = from_sql(__file__)
