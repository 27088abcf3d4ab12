"""Calls a second: spaced over all workers, put off when there are too many, and never early."""

import asyncio
import time
from typing import Any

import pytest

from services.worker.errors import RetryLater
from services.worker.outside import store
from services.worker.outside.call_rates import CallRates
from shared.database import Connection, Role
from tests.conftest import OpenDatabase


async def test_a_call_waits_until_its_moment(open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    async def in_a_moment(_db: Any, _remote: str, accounts: list[str], *_: Any) -> dict[str, float]:
        return dict.fromkeys(accounts, 0.2)

    monkeypatch.setattr(store, "take_calls", in_a_moment)
    async with open_database(Role.WORKER) as database:
        rates = CallRates(database, "stripe", 50.0)
        running = asyncio.create_task(rates.run())
        asked_at = time.monotonic()
        await rates.turn("acct_1")
        assert time.monotonic() - asked_at >= 0.2
        running.cancel()


async def test_calls_a_second_hold_over_all_workers_and_put_the_rest_off(open_database: OpenDatabase) -> None:
    made: list[float] = []
    put_off: list[RetryLater] = []
    clock = asyncio.get_running_loop().time

    async def call(rates: CallRates) -> None:
        try:
            await rates.turn("acct_1")
        except RetryLater as later:
            put_off.append(later)
        else:
            made.append(clock())

    async with open_database(Role.WORKER) as one, open_database(Role.WORKER) as two:
        workers = [CallRates(one, "stripe", 50.0), CallRates(two, "stripe", 50.0)]
        async with one.statement() as db:
            began = await db.fetchval("SELECT clock_timestamp()")
        running = [asyncio.create_task(each.run()) for each in workers]
        await asyncio.gather(*(call(workers[n % 2]) for n in range(60)))
        await workers[0].turn("acct_2")
        for each in running:
            each.cancel()
    assert len(made) + len(put_off) == 60
    assert put_off
    assert not any(later.counts for later in put_off)
    delays = sorted(later.delay for later in put_off if later.delay is not None)
    assert delays[-1] > delays[0]
    async with open_database(None) as owner, owner.transaction() as db:
        rows = await db.fetch("SELECT account, next_call_at FROM call_rates WHERE remote = 'stripe'")
    free_from = {row["account"]: row["next_call_at"] for row in rows}
    assert set(free_from) == {"acct_1", "acct_2"}
    # The calendar has moved on by a gap for each call that was made: no two of them have one moment.
    assert made
    assert (free_from["acct_1"] - began).total_seconds() >= len(made) / 50.0


async def test_an_account_that_said_too_many_is_left_alone_and_no_other(open_database: OpenDatabase) -> None:
    async with open_database(Role.WORKER) as database:
        rates = CallRates(database, "stripe", 100.0)
        running = asyncio.create_task(rates.run())
        await rates.slow_down("acct_1", 30)
        with pytest.raises(RetryLater, match="calls per second"):
            await rates.turn("acct_1")
        await rates.turn("acct_2")
        running.cancel()


async def test_a_call_is_not_early_when_the_way_to_the_database_is_long(
    open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_calls = store.take_calls

    async def from_far_away(db: Connection, *asked: Any) -> dict[str, float]:
        await asyncio.sleep(0.15)
        return await take_calls(db, *asked)

    monkeypatch.setattr(store, "take_calls", from_far_away)
    gap = 0.2
    async with open_database(Role.WORKER) as database:
        rates = CallRates(database, "stripe", 1 / gap)
        running = asyncio.create_task(rates.run())
        for _ in range(2):
            await rates.turn("acct_1")
            async with database.statement() as db:
                to_its_moment = await db.fetchval(
                    "SELECT extract(epoch FROM next_call_at - clock_timestamp())::float8 FROM call_rates "
                    "WHERE account = 'acct_1'"
                )
            assert to_its_moment <= gap, "the moment after this one is a gap away at most"
        running.cancel()
