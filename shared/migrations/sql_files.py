"""A revision's upgrade and downgrade, read from the SQL files beside its module."""

from collections.abc import Callable
from pathlib import Path

from alembic import op

_OUTSIDE = "-- no transaction"


def _execute(sql: str) -> None:
    # Without parameters the driver sends the text unchanged: `%` means `%`, and several statements are one message.
    op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})


def from_sql(module_file: str, *, indexes: bool = False) -> tuple[Callable[[], None], Callable[[], None]]:
    """`upgrade, downgrade = from_sql(__file__)`: run `<module>.up.sql` and `<module>.down.sql`.

    With `indexes`, there is a second pair, `<module>_indexes.up.sql` and `<module>_indexes.down.sql`, because indexes
    are built concurrently, outside a transaction: made after the rest, and dropped before it.

    A file whose first line starts with `-- no transaction` runs statement by statement outside one, which
    `CREATE INDEX CONCURRENTLY` needs; such a file ends each statement with a semicolon at the end of a line and
    holds no function bodies. Every other file runs as a whole in the revision's transaction.
    """

    module = Path(module_file)
    stems = [module.stem, f"{module.stem}_indexes"] if indexes else [module.stem]

    def run(stem: str, direction: str) -> None:
        path = module.with_name(f"{stem}.{direction}.sql")
        sql = path.read_text(encoding="utf-8")
        if not sql.startswith(_OUTSIDE):
            _execute(sql)
            return
        if "$$" in sql:
            raise ValueError(f"{path.name}: a file outside a transaction cannot hold a function body")
        with op.get_context().autocommit_block():
            for statement in sql.split(";\n"):
                if any(line.strip() and not line.startswith("--") for line in statement.splitlines()):
                    _execute(statement)

    def upgrade() -> None:
        for stem in stems:
            run(stem, "up")

    def downgrade() -> None:
        for stem in reversed(stems):
            run(stem, "down")

    return upgrade, downgrade
