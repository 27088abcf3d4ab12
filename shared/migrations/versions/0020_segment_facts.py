"""What a policy's segments ask about an invoice, kept with its recovery."""

from shared.migrations.sql_files import from_sql

revision = "0020"
down_revision = "0019"
upgrade, downgrade = from_sql(__file__)
