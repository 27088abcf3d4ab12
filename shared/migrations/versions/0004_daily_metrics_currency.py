"""daily_metrics by currency; merchant_totals."""

from shared.migrations.sql_files import from_sql

revision = "0004"
down_revision = "0003"
upgrade, downgrade = from_sql(__file__)
