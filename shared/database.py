"""Connections to PostgreSQL: one pool per process, under the service's own role.

    DatabaseAway   the server cannot be reached or went away: answer 503, try again, nothing is lost
    DatabaseBusy   others hold the rows: the same

The pool connects when it is first used and reconnects by itself. So a process starts without its database, and goes on
when the database is back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import orjson
from prometheus_client import Counter

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection

T = TypeVar("T")

# The end of a connection arrives within moments of the server's last message on it; then the pool gives another.
_UNTIL_SEEN_BROKEN = 0.1  # seconds
_BROKEN_AT_MOST = 2

_DEADLOCKS = Counter("citadel_deadlocks_total", "Transactions that lost a deadlock and were run once more")


class Role(StrEnum):
    """A service's role in the database; migration 0010 says what each may do."""

    INGRESS = "citadel_ingress"
    WORKER = "citadel_worker"
    AUTH = "citadel_auth"
    LEDGER = "citadel_ledger"

    @property
    def service(self) -> str:
        """The service whose role it is: `python -m services.<service>` runs it."""
        return self.removeprefix("citadel_")


# The worker's statements read a few rows of large tables. A plan is made once per connection, perhaps while the queue
# is empty: it must not be a scan of the whole table, nor a bitmap scan, which a claim would have to finish for all
# tasks of a lane before it gets the first row.
WORKER_PLANS = {"enable_seqscan": "off", "enable_bitmapscan": "off"}


class DatabaseAway(Exception):
    """The database cannot be reached or went away in the middle; a transaction in flight is rolled back.

    Whether a COMMIT in flight took effect is unknown: repeat only what is safe to repeat.
    """


class DatabaseBusy(Exception):
    """Others hold the rows for longer than one waits, or deadlocked with us twice; nothing was written."""


# What asyncpg raises when the server is away; not what it raises when the server refuses a statement.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
)


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


async def _set_codecs(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=_dumps, decoder=orjson.loads, schema="pg_catalog")


async def _keep_session(_connection: object) -> None:
    """Do not reset the session: our code leaves no setting or lock in it, and a reset costs a round trip each time."""


def _gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken the broken connection back already
        return True


class Database:
    """A pool of connections under one role.

    `transaction()` is the usual way: everything inside commits together or not at all. `statement()` is for work that
    is one statement.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, role: Role | None, *, size: int = 10, name: str = "citadel"
    ) -> AsyncIterator["Database"]:
        """A database for the life of the block. `role=None` keeps the login's own rights (the owner's commands).

        Does not connect yet, so it does not fail when the server is away. A statement has 30 s, a lock 10 s.
        """
        settings = {"application_name": name, "timezone": "UTC", "lock_timeout": "10s", "jit": "off"}
        settings["idle_in_transaction_session_timeout"] = "60s"
        settings["synchronous_commit"] = "on"  # whatever the server's default: we answer only what is on the disk
        if role is Role.WORKER:
            settings |= WORKER_PLANS
        if role is not None:
            settings["role"] = role.value  # asyncpg takes a plain str only
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            timeout=5,
            command_timeout=30,
            init=_set_codecs,
            reset=_keep_session,
            server_settings=settings,
        )
        async with pool:
            yield cls(pool)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction on one connection, committed at the end of the block, rolled back on an error.

        Raises DatabaseAway when the server is away (at the start, in the middle or at the commit). What the block
        itself raises passes through unchanged.
        """
        async with self._connected() as connection, connection.transaction():
            yield connection

    async def committed_surely(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` gives, in a transaction of its own, which is run again if its connection breaks.

        For work that may take effect twice, because whether a broken COMMIT took effect is unknown. A pool can hold
        several connections that have just broken (a failover), so there are three tries. Raises DatabaseAway after
        them.
        """
        for _ in range(_BROKEN_AT_MOST):
            try:
                async with self.transaction() as db:
                    return await work(db)
            except DatabaseAway:
                await asyncio.sleep(_UNTIL_SEEN_BROKEN)
        async with self.transaction() as db:
            return await work(db)

    async def committed(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` gives, in a transaction of its own; who loses a deadlock is rolled back whole and run once more.

        Raises DatabaseAway and DatabaseBusy.
        """
        try:
            return await self._committed(work)
        except asyncpg.DeadlockDetectedError:
            _DEADLOCKS.inc()
        try:
            return await self._committed(work)
        except asyncpg.DeadlockDetectedError as error:
            raise DatabaseBusy("deadlocked twice") from error

    async def _committed(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with self.transaction() as db:
                return await work(db)
        except asyncpg.LockNotAvailableError as error:
            raise DatabaseBusy("a lock was not given in time") from error

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Connection]:
        """A connection without a transaction: each statement commits by itself, in one round trip. Raises DatabaseAway.

        For work that is one statement, and for a connection that is kept (LISTEN).
        """
        async with self._connected() as connection:
            yield connection

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        try:
            connection = await self._pool.acquire(timeout=10)
        except AWAY as error:
            raise DatabaseAway(f"no connection to the database: {type(error).__name__}") from error
        try:
            yield connection
        except AWAY as error:
            # An InterfaceError on a live connection is our mistake (wrong arguments, for example), not an outage.
            if isinstance(error, asyncpg.InterfaceError) and not _gone(connection):
                raise
            raise DatabaseAway(f"the database went away: {type(error).__name__}") from error
        except asyncpg.InternalClientError as error:
            # The server sent its last message between two statements, and the connection's end has not arrived yet:
            # asyncpg takes the next statement for a second one (https://github.com/MagicStack/asyncpg/issues/784).
            # Such a connection is unusable: terminate it, so that it does not go back into the pool.
            connection.terminate()
            raise DatabaseAway("the database ended the connection") from error
        finally:
            await self._give_back(connection)

    async def _give_back(self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
        """Give the connection back to the pool, or terminate it; the transaction is over in either case."""
        try:
            await self._pool.release(connection, timeout=5)
        except (*AWAY, asyncpg.InternalClientError):
            pass  # asyncpg has ended it and makes a new one when one is needed

    async def schema_revision(self) -> str | None:
        """The revision that the database is at; None before the first migration."""
        async with self.transaction() as db:
            if not await db.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
                return None
            revision: str | None = await db.fetchval("SELECT version_num FROM alembic_version")
            return revision
