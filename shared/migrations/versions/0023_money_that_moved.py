"""What moved: payments under way, what was paid before, ends that are taken back; events in more than one list.

Two pairs of files, because indexes are built concurrently, outside a transaction, and the rest is one transaction.
"""

from pathlib import Path

from shared.migrations.sql_files import from_sql

revision = "0023"
down_revision = "0022"
_make, _unmake = from_sql(__file__)
_index, _unindex = from_sql(str(Path(__file__).with_name("0023_money_that_moved_indexes.py")))


def upgrade() -> None:
    """The columns first."""
    _make()
    _index()


def downgrade() -> None:
    """The indexes first."""
    _unindex()
    _unmake()
