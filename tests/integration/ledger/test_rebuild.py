"""`citadel ledger rebuild`: totals from the book, under concurrent bookings too."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from console.__main__ import app
from services.ledger.totals.store import differences, rebuild
from shared.database import Database, Role
from tests.conftest import OpenDatabase
from tests.integration.ledger.test_totals import MONEY, assert_kept, book, random_rows
from tests.integration.ledger.world import World

SPOIL = (
    "UPDATE merchant_totals SET recovered_cents = recovered_cents + 1, won_back_cents = 7 WHERE merchant_id = 'a'",
    "DELETE FROM daily_metrics WHERE merchant_id = 'b'",
    "INSERT INTO daily_metrics (merchant_id, metric_date, currency, failed_count) VALUES ('d', '2026-01-01', 'usd', 3)",
)


async def kept(database: Database) -> list[list[tuple[Any, ...]]]:
    """Both tables."""
    async with database.transaction() as db:
        tables = ("daily_metrics ORDER BY merchant_id, currency, metric_date", "merchant_totals ORDER BY 1, 2")
        return [[tuple(row) for row in await db.fetch(f"SELECT * FROM {table}")] for table in tables]  # noqa: S608


async def spoil(database: Database) -> None:
    async with database.transaction() as db:
        for statement in SPOIL:
            await db.execute(statement)


async def test_what_the_trigger_keeps_is_what_the_book_says(database: Database) -> None:
    rows = random_rows(seed=5, count=400)
    rows += [(m, metric, -amount, c, r, at) for m, metric, amount, c, r, at in rows[:60] if metric in MONEY][1:]
    rows = [row for row in rows if row[1] != "recovery_opened" or row[2] >= 0]
    async with database.transaction() as db:
        # Ends that were taken back: whether a row may stand there is not what is tested here.
        await db.execute("DROP INDEX IF EXISTS usage_logs_recovery_once, usage_logs_end_once")
    await book(database, rows)
    await assert_kept(database, rows)
    async with database.transaction() as db:
        assert await differences(db, None) == []


async def test_a_rebuild_puts_right_what_is_wrong_and_says_what_it_was(database: Database) -> None:
    await book(database, random_rows(seed=6, count=200))
    before = await kept(database)
    await spoil(database)
    async with database.transaction() as db:
        told = await differences(db, None)
        assert await rebuild(db, None) == told
    wrong = {(each.table, each.merchant_id) for each in told}
    assert wrong == {("merchant_totals", "a"), ("daily_metrics", "b"), ("daily_metrics", "d")}
    of_a = [each.numbers for each in told if each.merchant_id == "a"]
    assert all(each["won_back_cents"][0] == 7 for each in of_a)
    assert all(found - right == 1 for found, right in (each["recovered_cents"] for each in of_a))
    assert await kept(database) == before


async def test_a_rebuild_of_one_merchant_leaves_the_others(database: Database) -> None:
    await book(database, random_rows(seed=6, count=200))
    await spoil(database)
    async with database.transaction() as db:
        await rebuild(db, "b")  # type: ignore[arg-type]  # a merchant of a test
        left = await differences(db, None)
    assert {each.merchant_id for each in left} == {"a", "d"}


async def test_numbers_from_before_currencies_are_left(database: Database) -> None:
    async with database.transaction() as db:
        await db.execute("INSERT INTO daily_metrics (merchant_id, metric_date, recovered_cents) VALUES ('a', now(), 9)")
        assert await rebuild(db, None) == []
        assert await db.fetchval("SELECT recovered_cents FROM daily_metrics") == 9


async def test_a_booking_before_and_one_during_a_rebuild_are_counted_once(
    database: Database, open_database: OpenDatabase
) -> None:
    scene = World(database)
    when = datetime(2026, 3, 1, tzinfo=UTC)
    ids = iter(f"00000000-0000-4000-8000-{number:012}" for number in range(9))

    async def one(writers: Database) -> None:
        await book(writers, [("a", "recovery_recovered", 100, "usd", next(ids), when)])

    async def rebuilt() -> None:
        async with database.transaction() as db:
            await rebuild(db, None)

    async with open_database(Role.WORKER) as writers:
        await one(writers)
        async with writers.transaction() as db:  # booked, not committed: the rebuild waits and sees it
            await db.execute(
                "INSERT INTO usage_logs (merchant_id, metric_type, amount, currency, recovery_id, created_at)"
                " VALUES ('a', 'recovery_recovered', 100, 'usd', $1::uuid, $2)",
                next(ids),
                when,
            )
            waiting = asyncio.create_task(rebuilt())
            await scene.until_someone_waits_for_a_lock()
        await waiting
        async with database.transaction() as db:  # rebuilt, not committed: the booking waits and is added
            await rebuild(db, None)
            booking = asyncio.create_task(one(writers))
            await scene.until_someone_waits_for_a_lock()
        await booking
    async with database.transaction() as db:
        assert await differences(db, None) == []
        assert await db.fetchval("SELECT recovered_cents FROM merchant_totals") == 300


async def test_rebuilds_among_many_writers_lose_nothing(database: Database, open_database: OpenDatabase) -> None:
    batches = [random_rows(seed, 40) for seed in range(20, 36)]
    await spoil(database)

    async def rebuilds() -> None:
        for _ in range(8):
            async with database.transaction() as db:
                await rebuild(db, None)

    async with open_database(Role.WORKER) as writers:
        await asyncio.gather(rebuilds(), *(book(writers, batch) for batch in batches))
    async with database.transaction() as db:
        assert await db.fetchval("SELECT count(*) FROM usage_logs") == 16 * 40
        assert await differences(db, None) == []


async def test_no_service_may_correct_the_totals(open_database: OpenDatabase) -> None:
    for role in Role:
        async with open_database(role) as service:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with service.transaction() as db:
                    await rebuild(db, None)


# No coroutine: a command makes an event loop of its own.
def test_the_command_checks_corrects_and_says_so(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITADEL_DATABASE_URL", database_url)

    def tell(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["ledger", "rebuild", *arguments])
        return result.exit_code, result.output

    async def wrong() -> None:
        async with Database.open(database_url, None, size=1) as database:
            await spoil(database)

    assert tell("--check") == (0, "The totals are what the book says.\n")
    asyncio.run(wrong())
    line = "daily_metrics 2026-01-01 d usd: failed_count is 3, the book says 0\n"
    assert tell("--check") == (1, line)
    assert tell("--check", "--merchant", "acct_unknown")[0] == 1
    assert tell() == (0, f"{line}1 rows corrected from the book.\n")
    assert tell("--check") == (0, "The totals are what the book says.\n")
