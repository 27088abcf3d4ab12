"""The way to PostgreSQL: a transaction is all or nothing, and a server that goes away is one kind of error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from console.local.postgres import EmbeddedPostgres
from shared.clock import business_now, travel_to
from shared.database import Connection, Database, DatabaseAway, Role
from tests.conftest import OpenDatabase
from tests.waiting import until

PLACE = "INSERT INTO processed_events (event_id) VALUES ($1)"
COUNT = "SELECT count(*) FROM processed_events"


@pytest.fixture
async def private() -> AsyncIterator[EmbeddedPostgres]:
    """A server of this test's own, to be killed."""
    async with EmbeddedPostgres.temporary() as server:
        yield server


async def test_what_fails_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(RuntimeError, match="second thoughts"):
        async with database.transaction() as db:
            await db.execute(PLACE, "evt_1")
            raise RuntimeError("second thoughts")
    async with database.transaction() as db:
        assert await db.fetchval(COUNT) == 0


async def test_a_refused_statement_is_not_a_database_that_is_away(database: Database) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        async with database.transaction() as db:
            await db.execute(PLACE, "evt_1")
            await db.execute(PLACE, "evt_1")


async def test_a_mistake_of_ours_is_not_a_database_that_is_away(database: Database) -> None:
    with pytest.raises(asyncpg.InterfaceError, match="expects 1 argument"):
        async with database.transaction() as db:
            await db.fetchval("SELECT $1::int")


async def test_json_goes_in_and_out_as_values(database: Database) -> None:
    async with database.transaction() as db:
        assert await db.fetchval("SELECT $1::jsonb", {"a": [1, None, "ü"]}) == {"a": [1, None, "ü"]}


async def test_a_service_runs_under_its_own_role(open_database: OpenDatabase) -> None:
    async with open_database(Role.INGRESS) as opened, opened.transaction() as db:
        assert await db.fetchval("SELECT current_user") == "citadel_ingress"


@pytest.mark.parametrize("broken", [1, 2])
async def test_what_may_take_effect_twice_survives_connections_that_break(database: Database, broken: int) -> None:
    runs = 0

    async def work(db: Connection) -> str:
        nonlocal runs
        runs += 1
        await db.execute(PLACE, f"evt_{runs}")
        if runs <= broken:
            await db.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return f"evt_{runs}"

    assert await database.committed_surely(work) == f"evt_{broken + 1}"
    async with database.transaction() as db:
        assert await db.fetchval(COUNT) == 1


async def test_a_database_that_stays_away_is_said_to_be_away(database: Database) -> None:
    async def work(db: Connection) -> None:
        await db.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseAway):
        await database.committed_surely(work)


async def test_a_killed_server_is_away_and_the_pool_recovers_by_itself(private: EmbeddedPostgres) -> None:
    async with Database.open(private.url("postgres"), None) as database:
        async with database.transaction() as db:
            await db.execute("CREATE TABLE kept (n int)")
            await db.execute("INSERT INTO kept VALUES (1)")
        with pytest.raises(DatabaseAway):
            async with database.transaction() as db:
                await db.execute("INSERT INTO kept VALUES (2)")
                private.kill()
                # Our backend outlives its postmaster by a moment.
                await until(lambda: db.execute("SELECT 1"), "the backend has ended", lambda _: False)
        with pytest.raises(DatabaseAway):
            async with database.transaction():
                pytest.fail("there is no server to begin a transaction on")
        await private.start()
        async with database.transaction() as db:
            assert [row["n"] for row in await db.fetch("SELECT n FROM kept")] == [1]


@asynccontextmanager
async def _deaf(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The server behind a relay that passes everything on but the end of the first connection.

    Gives the URL through it, and an event: a server has said its last word, and the client has it.
    """
    parts, said = urlsplit(url), asyncio.Event()

    async def relay(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(parts.hostname, parts.port)

        async def answers() -> None:
            while chunk := await from_server.read(1 << 16):
                to_client.write(chunk)
            await to_client.drain()
            if said.is_set():
                to_client.close()  # the first connection only is left open
            said.set()

        answering = asyncio.create_task(answers())
        try:
            while chunk := await from_client.read(1 << 16):
                to_server.write(chunk)
        finally:
            answering.cancel()
            to_server.close()
            to_client.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    login = parts.netloc.rpartition("@")[0]
    try:
        yield urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}")), said
    finally:
        server.close()


async def test_a_server_whose_last_word_comes_right_before_the_commit_is_away(
    database: Database, database_url: str
) -> None:
    async with _deaf(database_url) as (url, said), Database.open(url, None, size=1) as behind:
        with pytest.raises(DatabaseAway):
            async with behind.transaction() as db:
                backend = await db.fetchval("SELECT pg_backend_pid()")
                async with database.transaction() as other:
                    await other.execute("SELECT pg_terminate_backend($1, 5000)", backend)
                await said.wait()
                for _ in range(10):  # turns of the loop: what is in the socket is read
                    await asyncio.sleep(0)
        async with behind.transaction() as db:
            assert await db.fetchval("SELECT pg_backend_pid()") != backend


async def test_time_travel_moves_every_connection_at_once(database: Database, open_database: OpenDatabase) -> None:
    async with database.transaction() as db:
        before = await business_now(db)
        await travel_to(db, before.replace(year=before.year + 1, day=1))
    async with open_database(Role.WORKER) as worker, worker.transaction() as db:
        assert (await business_now(db)).year == before.year + 1
