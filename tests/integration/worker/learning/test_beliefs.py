"""What is kept of a merchant and of the pool."""

from datetime import datetime, timedelta

import pytest

from services.worker.learning import store
from services.worker.learning.schedule import ENOUGH
from services.worker.recovery.outcomes import outcomes_of
from shared import pool
from shared.pool import POOL
from tests.integration.worker.learning.looks import kept, learn_now, payday, queue
from tests.integration.worker.pasts import write_paid_on
from tests.integration.worker.world import World


async def test_a_merchant_learns_from_its_own_recoveries_and_a_late_task_changes_nothing(
    world: World, now: datetime
) -> None:
    await write_paid_on(world, world.merchant_id, 120, 25, now)
    await learn_now(world, world.merchant_id)
    row = await kept(world, world.merchant_id)
    assert row["recoveries"] == 120
    assert payday(row["belief"], 25) > 0.5
    assert [each["about"] for each in row["differences"]] == ["payday"]
    assert "25th" in row["differences"][0]["text"]
    await learn_now(world, world.merchant_id, until=now - timedelta(days=40))
    after = await kept(world, world.merchant_id)
    assert (after["learned_at"], after["recoveries"]) == (row["learned_at"], 120)


async def test_the_pool_needs_three_merchants_and_leaves_out_who_opted_out(world: World, now: datetime) -> None:
    merchants = [world.merchant_id, await world.connect(), await world.connect()]
    out = await world.connect()
    for merchant_id in merchants[:2]:
        await write_paid_on(world, merchant_id, 40, 25, now)
    await learn_now(world, POOL)
    assert await kept(world, POOL) is None
    await write_paid_on(world, merchants[2], 40, 25, now)
    await write_paid_on(world, out, 200, 8, now)
    await learn_now(world, POOL)
    first = await kept(world, POOL)
    assert first["recoveries"] == 320
    async with world.database.transaction() as db:
        await pool.opt_out(db, out)
    assert (await queue(world))[0] == POOL, "at once, and not with the next day"
    await world.work()
    second = await kept(world, POOL)
    assert second["recoveries"] == 120
    assert payday(second["belief"], 25) > payday(first["belief"], 25) + 0.2
    assert payday(second["belief"], 8) < payday(first["belief"], 8) - 0.2


async def test_who_opted_out_still_learns_for_itself_and_an_empty_pool_forgets(world: World, now: datetime) -> None:
    merchants = [world.merchant_id, await world.connect(), await world.connect()]
    for merchant_id in merchants:
        await write_paid_on(world, merchant_id, ENOUGH, 25, now)
    await learn_now(world, POOL)
    assert (await kept(world, POOL))["belief"] is not None
    async with world.database.transaction() as db:
        await pool.opt_out(db, world.merchant_id)
    await world.pass_time(minutes=1)
    await learn_now(world, POOL, world.merchant_id)
    assert (await kept(world, POOL))["belief"] is None
    assert (await kept(world, world.merchant_id))["belief"] is not None


async def test_of_the_pool_small_merchants_are_heard_beside_a_large_one(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "REMEMBERED", 60)
    small = [await world.connect(), await world.connect()]
    await write_paid_on(world, world.merchant_id, 150, 8, now)
    for merchant_id in small:
        await write_paid_on(world, merchant_id, 15, 25, now)
    async with world.worker.transaction() as db:
        found = outcomes_of(await store.attempts_of_pool(db, now))
    heard = [merchant_id for merchant_id, _ in found]
    assert [heard.count(merchant_id) for merchant_id in (world.merchant_id, *small)] == [30, 15, 15]


async def test_a_new_merchant_begins_with_what_the_pool_believes(world: World, now: datetime) -> None:
    for merchant_id in [await world.connect() for _ in range(3)]:
        await write_paid_on(world, merchant_id, 60, 12, now)
    await write_paid_on(world, world.merchant_id, ENOUGH, 27, now)
    await learn_now(world, world.merchant_id)
    alone = payday((await kept(world, world.merchant_id))["belief"], 12)
    await learn_now(world, POOL)
    await world.pass_time(minutes=1)
    await learn_now(world, world.merchant_id)
    row = await kept(world, world.merchant_id)
    assert payday(row["belief"], 12) > alone + 0.1
    assert row["differences"] == [], "what the others have taught is told to nobody as its own"
