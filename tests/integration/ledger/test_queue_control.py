"""The queue as a whole through the API: pauses, dead letters and pending tasks by filter, each tenant for itself."""

from datetime import timedelta

from shared.queue import tasks
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World


async def _claimed(world: World) -> list[str]:
    async with world.database.transaction() as db:
        return [task.merchant_id for task in await tasks.claim(db, "w", 10, timedelta(minutes=1))]


async def test_a_paused_merchant_gets_no_task_until_the_pause_ends(api: Api, world: World) -> None:
    paused, other = await world.connect(), await world.connect()
    await world.task(paused)
    await world.task(other)
    begun = await api.post("/v1/pauses", {"merchant_id": paused, "reason": "asked for it"})
    assert (begun.status, begun.body["changed"]) == (200, 1)
    assert await _claimed(world) == [other]
    (listed,) = (await api.get("/v1/pauses")).body["data"]
    assert (listed["merchant_id"], listed["task_type"], listed["reason"]) == (paused, None, "asked for it")
    assert (await api.post("/v1/pauses/end", {"merchant_id": paused})).body["changed"] == 1
    assert await _claimed(world) == [paused]


async def test_a_paused_type_is_not_handed_out(api: Api, world: World) -> None:
    merchant = await world.connect()
    await world.task(merchant, task_type="slow")
    await api.post("/v1/pauses", {"task_type": "slow"})
    assert await _claimed(world) == []


async def test_a_merchants_key_pauses_itself_and_nobody_else(api: Api, world: World) -> None:
    one, other = await world.connect(), await world.connect()
    own = api.as_(await world.key(one))
    assert (await own.post("/v1/pauses", {"task_type": "job"})).body["changed"] == 1
    assert await world.value("SELECT merchant_id FROM queue_pauses") == one
    assert (await own.post("/v1/pauses", {"merchant_id": other})).status == 422
    assert (await api.post("/v1/pauses", {})).status == 422


async def test_dead_letters_are_retried_and_pending_tasks_canceled_by_filter(api: Api, world: World) -> None:
    one, other = await world.connect(), await world.connect()
    for merchant in (one, other):
        await world.task(merchant, "dead")
        await world.task(merchant, "dead", "another")
    retried = await api.post("/v1/queue/retry-dead", {"merchant_id": one, "task_type": "job"})
    assert retried.body == {"changed": 1, "more": False}
    assert await world.value("SELECT count(*) FROM scheduled_tasks WHERE status = 'dead'") == 3
    canceled = await api.post("/v1/queue/cancel-pending", {"merchant_id": one})
    assert canceled.body == {"changed": 1, "more": False}
    assert await world.value("SELECT count(*) FROM scheduled_tasks WHERE status = 'canceled'") == 1
