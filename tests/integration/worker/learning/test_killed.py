"""Killed anywhere, or by two workers at once, the same is learned."""

import asyncio
from datetime import datetime

from services.worker.learning.schedule import ENOUGH, next_task, queue_due
from shared.pool import POOL
from shared.queue import tasks
from tests.integration.worker.doomed import rescued, run_until_death
from tests.integration.worker.learning.looks import kept, learn_now
from tests.integration.worker.pasts import write_paid_on
from tests.integration.worker.world import World

MOST_AWAITS = 200


async def test_killed_anywhere_the_same_is_learned(world: World, database_url: str, now: datetime) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH, 25, now)
    await learn_now(world, world.merchant_id, until=now)
    whole = dict(await kept(world, world.merchant_id))
    at, died = 0, True
    while died:
        at += 2
        assert at < MOST_AWAITS
        await world.execute("DELETE FROM learned_beliefs")
        async with world.worker.transaction() as db:
            await tasks.enqueue(db, next_task(world.merchant_id, now, now))
        async with run_until_death(world, database_url, at) as process:
            died = process.dead.is_set()
            await rescued(world)
            await world.pass_time(minutes=2)
            await world.work()
            row = await kept(world, world.merchant_id)
        assert row is not None
        assert dict(row) | {"looked_at": None} == whole | {"looked_at": None}
    assert at > 10, "the run was stepped through"


async def test_two_workers_at_once_learn_each_merchant_once(world: World, now: datetime) -> None:
    merchants = [world.merchant_id, *[await world.connect() for _ in range(3)]]
    for merchant_id in merchants:
        await write_paid_on(world, merchant_id, ENOUGH, 25, now)

    async def look() -> None:
        async with world.worker.transaction() as db:
            await queue_due(db)

    await asyncio.gather(look(), look())
    await world.pass_time(minutes=1)
    await asyncio.gather(*(world.another_engine().run_due() for _ in range(2)))
    done = await world.rows(
        "SELECT merchant_id, status, attempts FROM scheduled_tasks WHERE task_type = 'learn_belief' ORDER BY 1"
    )
    assert [tuple(row) for row in done] == [(each, "succeeded", 1) for each in sorted([*merchants, POOL])]
    assert {row["merchant_id"] for row in await world.rows("SELECT merchant_id FROM learned_beliefs")} == {
        *merchants,
        POOL,
    }
