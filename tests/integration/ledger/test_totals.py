"""The trigger keeps daily_metrics and merchant_totals equal to the sums over usage_logs, whatever is inserted how."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from shared.database import Database, Role
from tests.conftest import OpenDatabase

PARTS = ("failed", "recovered", "exhausted", "stopped")
MONEY = {
    "recovery_opened": "failed",
    "recovery_recovered": "recovered",
    "recovery_exhausted": "exhausted",
    "recovery_stopped": "stopped",
}
BACK = {"refunded": -1, "disputed": -1, "won_back": 1}  # what each does to what is recovered
COUNTS = {"attempt": "attempt_count", "message": "message_count"}
COLUMNS = [f"{part}_{what}" for part in PARTS for what in ("cents", "count")]
COLUMNS += [f"{name}_cents" for name in BACK] + list(COUNTS.values())

BOOK = """
INSERT INTO usage_logs (merchant_id, metric_type, amount, currency, recovery_id, created_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::uuid[], $6::timestamptz[])
"""

Row = tuple[str, str, int, str, str, datetime]
Kept = dict[tuple[str, ...], dict[str, int]]


def random_rows(seed: int, count: int) -> list[Row]:
    """Rows about as many recoveries, of several merchants, currencies and days, some of them at the edge of a day."""
    chance = random.Random(seed)  # noqa: S311 -- repeatable, not secret
    rows: list[Row] = []
    for _ in range(count):
        midnight = datetime(2026, 3, chance.randint(1, 4), tzinfo=UTC)
        when = midnight + timedelta(microseconds=chance.choice([-1, 0, 1, chance.randrange(86_400_000_000)]))
        metric = chance.choice([*MONEY, *BACK, *COUNTS])
        amount = 1 if metric in COUNTS else chance.choice([0, 1, chance.randrange(10**6), 2**40])
        currency = chance.choice(["usd", "eur", "jpy"])
        rows.append((chance.choice("abc"), metric, amount, currency, str(uuid4()), when))
    return rows


def expected(rows: list[Row], *, by_day: bool) -> Kept:
    """What the tables must hold, added up here."""
    kept: Kept = {}
    for merchant, metric, amount, currency, _, when in rows:
        key = (merchant, str(when.date()), currency) if by_day else (merchant, currency)
        numbers = kept.setdefault(key, dict.fromkeys(COLUMNS, 0))
        if metric in COUNTS:
            numbers[COUNTS[metric]] += amount
        elif metric in BACK:
            numbers[f"{metric}_cents"] += amount
            numbers["recovered_cents"] += BACK[metric] * amount
        else:
            numbers[f"{MONEY[metric]}_cents"] += amount
            numbers[f"{MONEY[metric]}_count"] += 1 if amount >= 0 else -1
    return kept


async def assert_kept(database: Database, rows: list[Row]) -> None:
    """Both tables hold the sums of the rows."""
    async with database.transaction() as db:
        daily = await db.fetch("SELECT * FROM daily_metrics")
        totals = await db.fetch("SELECT * FROM merchant_totals")
    assert {
        (row["merchant_id"], str(row["metric_date"]), row["currency"]): {name: row[name] for name in COLUMNS}
        for row in daily
    } == expected(rows, by_day=True)
    assert {(row["merchant_id"], row["currency"]): {name: row[name] for name in COLUMNS} for row in totals} == expected(
        rows, by_day=False
    )


async def book(database: Database, rows: list[Row]) -> None:
    """Insert the rows with one statement."""
    async with database.transaction() as db:
        await db.execute(BOOK, *(list(column) for column in zip(*rows, strict=True)))


async def test_the_totals_are_the_sums_of_random_rows_in_random_batches(database: Database) -> None:
    rows = random_rows(seed=1, count=600)
    chance, start = random.Random(2), 0  # noqa: S311 -- repeatable, not secret
    while start < len(rows):
        size = chance.choice([1, 2, 50])
        await book(database, rows[start : start + size])
        start += size
    await assert_kept(database, rows)


async def test_usage_that_is_not_about_a_recovery_is_not_in_the_totals(database: Database) -> None:
    async with database.transaction() as db:
        await db.execute("INSERT INTO usage_logs (merchant_id, metric_type, amount) VALUES ('a', 'api.calls', 9)")
    await assert_kept(database, [])


async def test_a_rolled_back_booking_leaves_no_number_behind(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.transaction() as db:
            await db.execute(BOOK, *(list(column) for column in zip(*random_rows(3, 20), strict=True)))
            raise RuntimeError
    await assert_kept(database, [])


async def test_writers_at_once_neither_deadlock_nor_lose_a_cent(open_database: OpenDatabase) -> None:
    batches = [random_rows(seed, 60) for seed in range(10, 22)]
    async with open_database(Role.WORKER) as database:
        # Each statement touches the same rows of the totals in another order.
        await asyncio.gather(*(book(database, batch) for batch in batches))
    async with open_database(None) as database:
        await assert_kept(database, [row for batch in batches for row in batch])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("recovery_opened", "recovery_opened"),
        ("recovery_recovered", "recovery_recovered"),
        ("recovery_recovered", "recovery_stopped"),
        ("recovery_exhausted", "recovery_recovered"),
    ],
)
async def test_a_recoverys_money_is_booked_once(database: Database, first: str, second: str) -> None:
    recovery, when = str(uuid4()), datetime(2026, 3, 1, tzinfo=UTC)
    rows: list[Row] = [("a", first, 100, "usd", recovery, when)]
    await book(database, rows)
    with pytest.raises(asyncpg.UniqueViolationError):
        await book(database, [("a", second, 100, "usd", recovery, when)])
    await assert_kept(database, rows)


async def test_the_same_booking_twice_at_once_is_booked_once(database: Database) -> None:
    rows: list[Row] = [("a", "recovery_recovered", 100, "usd", str(uuid4()), datetime(2026, 3, 1, tzinfo=UTC))]
    results = await asyncio.gather(*(book(database, rows) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, asyncpg.UniqueViolationError) for result in results) == 4
    await assert_kept(database, rows)


async def test_money_about_a_recovery_has_a_currency(database: Database) -> None:
    with pytest.raises(asyncpg.PostgresError):
        async with database.transaction() as db:
            await db.execute(
                "INSERT INTO usage_logs (merchant_id, metric_type, amount, recovery_id) "
                "VALUES ('a', 'recovery_opened', 1, gen_random_uuid())"
            )
