"""Alembic's entry: one connection, one migration at a time, no lock waited for longer than five seconds."""

import time

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text

_LOCK_ID = 7_238_116_459  # any number, the same for every citadel
_WAIT_SECONDS = 120
_LOOK_EVERY_SECONDS = 0.2


def _take_turn(connection: Connection) -> None:
    """Wait until no other process migrates this database.

    By polling: a session that waits inside `pg_advisory_lock` holds a snapshot, for which the other process's
    `CREATE INDEX CONCURRENTLY` would wait in turn: a deadlock.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:id)"), {"id": _LOCK_ID}):
        connection.rollback()
        if time.monotonic() > deadline:
            raise TimeoutError(f"another process has been migrating this database for {_WAIT_SECONDS} s")
        time.sleep(_LOOK_EVERY_SECONDS)
    connection.commit()


def _migrate() -> None:
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SET TIME ZONE 'UTC'"))
        connection.commit()
        _take_turn(connection)
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


_migrate()
