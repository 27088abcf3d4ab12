"""Who is learned from, when, and in which turn."""

import asyncio
import threading
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from services.worker.engine.periodic import PeriodicRunner
from services.worker.handlers import learn_belief
from services.worker.learning.schedule import ENOUGH, LEARNING, QUEUED
from services.worker.recovery.belief.document import LAYOUT
from shared import pool
from shared.pool import POOL
from tests.integration.worker.learning.looks import kept, learn_now, leave, queue
from tests.integration.worker.pasts import Try, write, write_paid_on
from tests.integration.worker.world import World
from tests.waiting import PATIENCE_S


async def test_a_merchant_gets_a_task_when_enough_is_new_and_once_a_day(world: World, now: datetime) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH - 1, 25, now)
    assert await queue(world) == [POOL]
    await world.work()
    await write_paid_on(world, world.merchant_id, 1, 25, now)
    assert await queue(world) == [], "it was looked at today"
    await world.pass_time(days=1, minutes=1)
    assert sorted(await queue(world)) == sorted([POOL, world.merchant_id])
    await world.pass_time(minutes=1)
    await world.work()
    row = await kept(world, world.merchant_id)
    assert (row["recoveries"], row["layout"]) == (ENOUGH, LAYOUT)
    await world.pass_time(days=1, minutes=1)
    assert await queue(world) == [POOL], "nothing is new"
    await world.pass_time(days=30)
    await write(world, world.merchant_id, [Try(now + timedelta(days=20)), Try(now + timedelta(days=21))])
    assert world.merchant_id in await queue(world), "what is old is learned anew from one"


async def test_what_was_learned_in_another_layout_is_learned_anew(world: World, now: datetime) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH, 25, now)
    await learn_now(world, world.merchant_id)
    await world.pass_time(days=2)
    assert world.merchant_id not in await queue(world)
    await world.execute("UPDATE learned_beliefs SET layout = 'another' WHERE layout IS NOT NULL")
    await world.pass_time(days=2)
    assert world.merchant_id in await queue(world)


async def test_merchants_take_turns_and_few_are_queued_at_a_time(world: World, now: datetime) -> None:
    merchants = {world.merchant_id, *[await world.connect() for _ in range(QUEUED + 3)]}
    for merchant_id in merchants:
        await write_paid_on(world, merchant_id, ENOUGH, 25, now)
    first = await queue(world)
    assert len(first) == QUEUED
    assert first[0] == POOL
    due = await world.rows("SELECT run_at FROM scheduled_tasks WHERE task_type = 'learn_belief' ORDER BY run_at")
    gaps = [after["run_at"] - before["run_at"] for before, after in pairwise(due)]
    assert min(gaps) >= timedelta(seconds=5), "one after the other"
    rest = await queue(world)
    assert {*first, *rest} == {POOL, *merchants}


async def test_a_merchant_that_is_gone_has_no_turn_and_its_belief_is_deleted(world: World, now: datetime) -> None:
    gone = await world.connect()
    for merchant_id in (world.merchant_id, gone):
        await write_paid_on(world, merchant_id, ENOUGH, 25, now)
    await learn_now(world, world.merchant_id, gone)
    await leave(world, gone)
    await learn_now(world, gone)
    runner = PeriodicRunner(world.worker, LEARNING)
    while await runner.run_one():
        pass
    assert await kept(world, gone) is None
    assert await kept(world, world.merchant_id) is not None


async def test_who_left_during_the_run_has_nothing_kept(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH, 25, now)
    begun, left = threading.Event(), threading.Event()
    learned = learn_belief._learned

    def slowly(lessons: learn_belief.Lessons) -> Any:
        begun.set()
        assert left.wait(PATIENCE_S)
        return learned(lessons)

    monkeypatch.setattr(learn_belief, "_learned", slowly)
    run = asyncio.create_task(learn_now(world, world.merchant_id))
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    await leave(world, world.merchant_id)
    left.set()
    await run
    assert await kept(world, world.merchant_id) is None


async def test_an_opt_out_is_heard_although_the_pools_task_was_queued_before(world: World) -> None:
    assert await queue(world) == [POOL]
    async with world.database.transaction() as db:
        await pool.opt_out(db, world.merchant_id)
    assert await queue(world) == [POOL], "the one that was queued before"
    await world.work()
    assert await queue(world) == [POOL], "it may have read what it learns from before the opt-out"
    await world.work()
    assert await queue(world) == []
