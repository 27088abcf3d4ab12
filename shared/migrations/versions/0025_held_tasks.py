"""Tasks that are held, windows that are longer, recoveries that are opened again."""

from shared.migrations.sql_files import from_sql

revision = "0025"
down_revision = "0024"
upgrade, downgrade = from_sql(__file__, indexes=True)
