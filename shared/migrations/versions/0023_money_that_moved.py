"""What moved: payments under way, what was paid before, ends that are taken back; events in more than one list."""

from shared.migrations.sql_files import from_sql

revision = "0023"
down_revision = "0022"
upgrade, downgrade = from_sql(__file__, indexes=True)
