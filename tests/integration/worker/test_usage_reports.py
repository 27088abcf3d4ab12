"""A report of usage reaches Stripe's meter once, whatever happens on the way."""

from typing import Any
from uuid import uuid4

import pytest

from services.worker.handlers import discover
from services.worker.outside.lease import Lease
from shared.queue import control, tasks
from shared.queue.control import Which
from shared.queue.tasks import NewTask
from tests.integration.worker.world import PACE, World


async def _report(world: World) -> None:
    made = await world.control.add_renewal(world.account, card={}, amount=4_200)
    payload = {
        "usage_id": str(uuid4()),
        "event_name": "api_calls",
        "customer_id": made["customer"]["id"],
        "value": 7,
        "timestamp": world.simulation.world.clock.now,
    }
    async with world.database.transaction() as db:
        await tasks.enqueue(db, NewTask(world.merchant_id, "report_usage", payload))


async def _task(world: World) -> Any:
    (row,) = await world.rows("SELECT * FROM scheduled_tasks WHERE task_type = 'report_usage'")
    return row


async def _sent_by_a_worker_that_dies(world: World) -> None:
    async with world.worker.transaction() as db:
        (task,) = await tasks.claim(db, "doomed", 1, PACE.lease)
    handler = discover()["report_usage"]
    job = handler.understand(task)
    async with world.worker.transaction() as db:
        plan = await handler.load(db, job)
    await handler.perform(world.outside.remote(Lease(PACE.lease)), plan)


async def _rescue(world: World) -> None:
    await world.execute("UPDATE scheduled_tasks SET lease_expires_at = now() - interval '1 s' WHERE status = 'running'")
    async with world.worker.transaction() as db:
        await tasks.rescue(db)
    await world.pass_time(seconds=30)


@pytest.mark.parametrize(("hours", "status"), [(1, "succeeded"), (22, "succeeded"), (25, "dead"), (24 * 20, "dead")])
async def test_what_may_have_been_sent_is_not_sent_again_when_its_identifier_may_be_forgotten(
    world: World, hours: int, status: str
) -> None:
    await _report(world)
    await _sent_by_a_worker_that_dies(world)
    await world.pass_time(hours=hours)
    await _rescue(world)
    await world.work()
    assert len(await world.control.meter_events()) == 1
    task = await _task(world)
    assert task["status"] == status
    if status == "dead":
        assert task["last_error"].startswith("it may have been reported at 2026-09-08 12:00 UTC")
        async with world.database.transaction() as db:
            await control.revive(db, Which(task_type="report_usage"))
        await world.work()
        assert len(await world.control.meter_events()) == 1
        assert (await _task(world))["status"] == "dead"


async def test_a_report_that_stripe_refused_was_not_sent_and_is_sent_days_later(world: World) -> None:
    await world.control.add_barrier("permission", path="/v1/billing/meter_events")
    await _report(world)
    for _ in range(8):
        await world.work()
        await world.pass_time(hours=8)
    assert (await _task(world))["held_for"] == "no_permission"
    await world.control.clear_barriers()
    await world.work()
    assert (await _task(world))["status"] == "succeeded"
    assert len(await world.control.meter_events()) == 1


async def test_a_doubt_outlives_a_refusal(world: World) -> None:
    await _report(world)
    await world.control.add_fault("drop", method="POST", path="/v1/billing/meter_events", after_effect=True, times=1)
    await world.work()
    await world.pass_time(minutes=1)
    await world.control.add_barrier("permission", path="/v1/billing/meter_events")
    for _ in range(4):
        await world.work()
        await world.pass_time(hours=8)
    await world.control.clear_barriers()
    await world.work()
    assert len(await world.control.meter_events()) == 1
    assert (await _task(world))["status"] == "dead"


@pytest.mark.parametrize(
    "sign",
    [
        {},
        {"code": "duplicate_meter_event"},
        {"code": "resource_already_exists"},
        {"param": "identifier"},
        {"param": "identifier", "code": "resource_already_exists", "message": "In other words."},
        {"status": 200},
    ],
    ids=str,
)
async def test_stripe_may_say_in_any_way_that_it_has_the_report(world: World, sign: dict[str, Any]) -> None:
    await world.control.meter_duplicates(**{"status": 400, **sign})
    await _report(world)
    await _sent_by_a_worker_that_dies(world)
    await world.pass_time(hours=1)
    await _rescue(world)
    await world.work()
    assert (await _task(world))["status"] == "succeeded"
    assert len(await world.control.meter_events()) == 1


async def test_another_refusal_is_none_of_these(world: World) -> None:
    await world.control.add_barrier(
        "refused", path="/v1/billing/meter_events", code="resource_missing", message="No such customer", param="payload"
    )
    await _report(world)
    await world.work()
    assert (await _task(world))["status"] == "dead"
