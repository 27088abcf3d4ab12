"""Tasks that are held, windows that are longer, and recoveries that are opened again."""

from shared.migrations.sql_files import from_sql

revision = "0027"
down_revision = "0022"
upgrade, downgrade = from_sql(__file__)
