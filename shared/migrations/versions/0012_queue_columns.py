"""What the queue's engine needs beside the tasks: pauses, the spacing of calls, who waits for work."""

from shared.migrations.sql_files import from_sql

revision = "0012"
down_revision = "0011"
upgrade, downgrade = from_sql(__file__)
