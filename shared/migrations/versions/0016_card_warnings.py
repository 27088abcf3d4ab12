"""Which customers were warned of which expiring card."""

from shared.migrations.sql_files import from_sql

revision = "0016"
down_revision = "0015"
upgrade, downgrade = from_sql(__file__)
