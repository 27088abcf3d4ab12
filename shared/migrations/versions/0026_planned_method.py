"""Which payment method an attempt is planned for, and which ones a customer has brought."""

from shared.migrations.sql_files import from_sql

revision = "0026"
down_revision = "0025"
upgrade, downgrade = from_sql(__file__)
