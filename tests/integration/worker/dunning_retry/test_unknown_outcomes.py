"""Whatever happens to the call that pays: the customer is charged once, and the money is booked once, as ours."""

from typing import Any

import pytest

from services.worker.handler import Handlers
from services.worker.handlers import discover
from services.worker.outside.lease import Lease
from shared import recovery_stops
from shared.queue import tasks
from shared.recovery_model import EndReason, Entry, EntryKind
from tests.integration.worker.world import PACE, Failed, World

PAY: dict[str, Any] = {"method": "POST", "path": "*/pay"}
FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "rate_limited"},
    "409": {"kind": "lock_timeout"},
    "429 lock": {"kind": "lock_timeout", "status": 429},
    "500 before": {"kind": "server_error"},
    "500 after": {"kind": "server_error", "after_effect": True},
    "time-out before": {"kind": "timeout", "seconds": 1.5},
    "time-out after": {"kind": "timeout", "seconds": 1.5, "after_effect": True},
    "dropped before": {"kind": "drop"},
    "dropped after": {"kind": "drop", "after_effect": True},
    "cut body": {"kind": "truncate"},
}


async def _paid_once_by_us(failed: Failed) -> None:
    row = await failed.finish()
    assert (row["state"], row["recovered_by"], row["amount_recovered"]) == ("recovered", "retry", row["amount_due"])
    (charge,) = await failed.charges()
    assert charge["source"] == "api_pay"
    booked = await failed.booked()
    assert booked["recovery_recovered"] == 1
    succeeded = [each for each in await failed.ours() if each["result"] == "succeeded"]
    assert [each["charge_id"] for each in succeeded] == [charge["charge"]]


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_the_call_charges_once_and_is_booked_as_ours(world: World, name: str) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await world.control.add_fault(times=1, **PAY, **FAULTS[name])
    await _paid_once_by_us(failed)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_the_call_keeps_what_the_bank_declined(world: World, name: str) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=2)
    await failed.attempt_due()
    await world.control.add_fault(times=1, **PAY, **FAULTS[name])
    await _paid_once_by_us(failed)
    tried = [each for each in await world.control.attempts(failed.invoice) if each["source"] == "api_pay"]
    declined = [each["charge"] for each in tried if each["outcome"] == "declined"]
    assert [each["charge_id"] for each in await failed.ours() if each["result"] == "declined"] == declined
    assert len(declined) == 1
    assert all(each["origin"] == "citadel" or each["charge_id"] not in declined for each in await failed.theirs())


@pytest.mark.parametrize("path", ["/v1/invoices/*", "/v1/charges"])
@pytest.mark.parametrize("kind", ["rate_limited", "server_error", "drop", "truncate"])
async def test_a_fault_of_a_reading_delays_and_charges_nothing_twice(world: World, kind: str, path: str) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.control.add_fault(kind=kind, method="GET", path=path, times=3)
    await _paid_once_by_us(failed)


# --- Crashes ----------------------------------------------------------------------------------------------------------


class Crashed(BaseException):
    """The process is gone: nothing of it runs any more."""


async def _run_until(world: World, failed: Failed, step: str) -> None:
    """Claim the task and run it up to and with `step`; then the worker is never heard of again."""
    handlers: Handlers = discover()
    async with world.worker.transaction() as db:
        (task,) = await tasks.claim(db, "doomed", 1, PACE.lease)
    assert task.task_type == "dunning_retry"
    if step == "claim":
        return
    handler = handlers[task.task_type]
    job = handler.understand(task)
    async with world.worker.transaction() as db:
        plan = await handler.load(db, job)
    if step == "load":
        return
    remote = world.outside.remote(Lease(PACE.lease))
    outcome = await handler.perform(remote, plan)
    if step == "perform":
        return
    with pytest.raises(Crashed):
        async with world.worker.transaction() as db:
            assert await tasks.complete(db, task)
            await handler.commit(db, job, outcome)
            raise Crashed


async def _rescue(world: World) -> None:
    await world.execute("UPDATE scheduled_tasks SET lease_expires_at = now() - interval '1 s' WHERE status = 'running'")
    async with world.worker.transaction() as db:
        assert len(await tasks.rescue(db)) == 1
    await world.pass_time(seconds=10)


STEPS = ["claim", "load", "perform", "commit"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("clears_after", [1, 2])
async def test_a_crash_anywhere_charges_once_and_loses_no_attempt(world: World, step: str, clears_after: int) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=clears_after)
    await failed.attempt_due()
    await _settle_messages(world)
    await _run_until(world, failed, step)
    await _rescue(world)
    await _paid_once_by_us(failed)
    tried = [each for each in await world.control.attempts(failed.invoice) if each["source"] == "api_pay"]
    ours = [each for each in await failed.ours() if each["result"] in {"succeeded", "declined"}]
    assert [each["charge"] for each in tried] == [each["charge_id"] for each in ours]
    assert {each["idempotency_key"] for each in tried} == {each["idempotency_key"] for each in ours}


@pytest.mark.parametrize("step", STEPS)
async def test_crashes_at_every_try_end_in_one_charge(world: World, step: str) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await _settle_messages(world)
    for _ in range(3):
        await _run_until(world, failed, step)
        await _rescue(world)
    await _paid_once_by_us(failed)


@pytest.mark.parametrize("step", ["load", "perform"])
@pytest.mark.parametrize("clears_after", [1, 2])
async def test_a_crash_found_after_the_key_is_forgotten_is_settled_by_reading(
    world: World, step: str, clears_after: int
) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=clears_after)
    await failed.attempt_due()
    await _settle_messages(world)
    await _run_until(world, failed, step)
    await world.pass_time(hours=30)
    await _rescue(world)
    await _paid_once_by_us(failed)


@pytest.mark.parametrize("step", STEPS)
async def test_a_stop_after_a_crash_is_kept_whatever_became_of_the_charge(world: World, step: str) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await _settle_messages(world)
    await _run_until(world, failed, step)
    entry = Entry(EntryKind.STOP_REQUESTED, "disputed", "A test stopped it.")
    async with world.worker.transaction() as db:
        await recovery_stops.request_stop(db, failed.recovery_id, EndReason.DISPUTED, entry)
    await _rescue(world)
    await world.pass_time(minutes=5)
    await world.work()
    row = await failed.recovery()
    charged = step in {"perform", "commit"}
    assert row["state"] == ("recovered" if charged else "stopped")
    assert row["end_reason"] == ("paid_by_retry" if charged else "disputed")
    assert len(await failed.charges()) == (1 if charged else 0)
    await world.pass_time(days=30)
    await world.work()
    assert len(await failed.charges()) == (1 if charged else 0)


async def test_a_worker_that_slept_through_its_lease_sends_nothing(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await _settle_messages(world)
    handler = discover()["dunning_retry"]
    async with world.worker.transaction() as db:
        (task,) = await tasks.claim(db, "sleeper", 1, PACE.lease)
        plan = await handler.load(db, handler.understand(task))
    asleep = world.outside.remote(Lease(PACE.lease, taken_at=0.0))
    with pytest.raises(Exception, match="lease was lost"):
        await handler.perform(asleep, plan)
    assert await failed.charges() == []


async def test_the_key_of_a_stopped_attempt_cannot_pay_any_more(world: World) -> None:
    """A request that was sent before the stop and arrives after it was settled is refused by Stripe."""
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await _settle_messages(world)
    await _run_until(world, failed, "load")
    async with world.worker.transaction() as db:
        await recovery_stops.request_stop(
            db, failed.recovery_id, EndReason.DISPUTED, Entry(EntryKind.STOP_REQUESTED, "t", "t")
        )
    await _rescue(world)
    await world.pass_time(minutes=5)
    await world.work()
    (attempt,) = await failed.ours()
    assert attempt["result"] == "abandoned"
    client = world.outside.stripe.for_merchant(world.account)
    with pytest.raises(Exception, match="idempotent"):
        await client.v1.invoices.pay_async(failed.invoice, {}, {"idempotency_key": attempt["idempotency_key"]})
    assert await failed.charges() == []


async def _settle_messages(world: World) -> None:
    """No message is due beside the attempt, so that the next task to be claimed is the attempt's."""
    await world.execute("UPDATE scheduled_tasks SET status = 'canceled' WHERE task_type = 'notify_action_required'")
