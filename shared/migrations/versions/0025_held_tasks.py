"""Tasks that are held, windows that are longer, recoveries that are opened again.

Two pairs of files, because the index is built concurrently, outside a transaction.
"""

from pathlib import Path

from shared.migrations.sql_files import from_sql

revision = "0025"
down_revision = "0024"
_make, _unmake = from_sql(__file__)
_index, _unindex = from_sql(str(Path(__file__).with_name("0025_held_tasks_indexes.py")))


def upgrade() -> None:
    """The columns first."""
    _make()
    _index()


def downgrade() -> None:
    """The index first."""
    _unindex()
    _unmake()
