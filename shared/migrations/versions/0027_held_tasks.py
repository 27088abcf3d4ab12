"""Tasks that are held, windows that are longer, recoveries that are opened again.

Two pairs of files, because the index is built concurrently, outside a transaction.
"""

from pathlib import Path

from shared.migrations.sql_files import from_sql

revision = "0027"
down_revision = "0023"
_make, _unmake = from_sql(__file__)
_index, _unindex = from_sql(str(Path(__file__).with_name("0027_held_tasks_indexes.py")))


def upgrade() -> None:
    """The columns first."""
    _make()
    _index()


def downgrade() -> None:
    """The index first."""
    _unindex()
    _unmake()
