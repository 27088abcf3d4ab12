"""An operator takes a task of a recovery away: what it was for does not happen, and nothing brings it back."""

import asyncio
from datetime import timedelta

import pytest

from shared.database import Database, Role
from shared.queue import control
from shared.queue.control import Which
from tests.conftest import OpenDatabase
from tests.integration.people.town import Town, rules
from tests.integration.worker.world import Failed


async def _is_stopped(failed: Failed) -> None:
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "stopped_by_operator")
    assert (await failed.booked())["recovery_stopped"] == 1
    for task_type in ("dunning_retry", "notify_action_required", "end_dunning"):
        assert not await failed.tasks(task_type=task_type)


@pytest.mark.parametrize("how", ["alone", "by filter", "by function"])
async def test_who_cancels_an_evaluation_stops_its_recovery(town: Town, open_database: OpenDatabase, how: str) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    match how:
        case "alone":
            assert (await town.cancel(failed)).body["status"] == "canceled"
        case "by filter":
            asked = {"merchant_id": town.world.merchant_id, "task_type": "dunning_retry"}
            reply = await town.api.post("/v1/queue/cancel-pending", asked)
            assert reply.body == {"changed": 1, "more": False}
        case _:
            async with open_database(Role.LEDGER) as ledger, ledger.transaction() as db:
                assert await control.cancel(db, Which(town.world.merchant_id), "a test") == 2
    await _is_stopped(failed)
    assert (await rules(failed, "closed")) == ["canceled_by_operator"]
    await town.months_pass()
    await town.world.control.add_card(failed.customer)
    await town.months_pass(4)
    assert await failed.charges() == []
    assert (await failed.recovery())["end_reason"] == "stopped_by_operator"


async def test_a_parked_evaluation_is_canceled_like_any_other(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    await town.api.post("/v1/pauses", {"merchant_id": town.world.merchant_id})
    await failed.until_due()
    await town.world.work()
    assert [task["parked"] for task in await failed.tasks()] == [True]
    assert (await town.cancel(failed)).status == 200
    await _is_stopped(failed)
    await town.api.post("/v1/pauses/end", {"merchant_id": town.world.merchant_id})
    await town.months_pass(6)
    assert await failed.charges() == []


async def test_a_dead_letter_that_was_dismissed_stays_dismissed(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    await town.world.execute(
        "UPDATE scheduled_tasks SET status = 'dead', finished_at = citadel_now() "
        "WHERE task_type = 'dunning_retry' AND status = 'pending'"
    )
    await town.sweep()
    assert await failed.tasks() == []
    assert (await town.cancel(failed, status="dead")).body["status"] == "canceled"
    await _is_stopped(failed)
    await town.world.control.add_card(failed.customer)
    await town.months_pass(8)
    assert await failed.charges() == []
    again = await town.api.post(f"/v1/tasks/{await town.task_of(failed, status='canceled')}/retry")
    assert (again.status, again.problem) == (409, "wrong-status")


async def test_a_running_evaluation_is_refused_with_the_way_to_stop_the_recovery(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    with town.world.stripe.door.holding("GET", "/v1/invoices/*") as read:
        work = asyncio.create_task(town.world.work())
        await read.has_arrived()
        refused = await town.cancel(failed, status="running")
        assert refused.status == 409
        assert f"POST /v1/recoveries/{failed.recovery_id}/stop" in refused.body["detail"]
        stopped = await town.stop(failed.recovery_id, reason="customer_request")
        assert (stopped.status, stopped.body["stop_requested"]) == (200, "stopped_by_operator")
    await work
    await _is_stopped(failed)
    assert await failed.charges() == []


async def test_a_filter_stops_recoveries_whose_evaluation_runs_too(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    with town.world.stripe.door.holding("GET", "/v1/invoices/*") as read:
        work = asyncio.create_task(town.world.work())
        await read.has_arrived()
        reply = await town.api.post("/v1/queue/cancel-pending", {"task_type": "dunning_retry"})
        assert reply.body == {"changed": 0, "more": False}
        assert await failed.tasks("running")
    await work
    await _is_stopped(failed)
    assert await failed.charges() == []


@pytest.mark.parametrize("paid", [True, False])
async def test_while_an_attempt_is_in_flight_its_outcome_decides(town: Town, paid: bool) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1 if paid else None)
    await failed.attempt_due()
    await town.world.control.configure_webhooks(types=["nothing"])
    await town.world.control.add_fault("drop", method="POST", path="*/pay", times=1, after_effect=True)
    await town.world.work()
    assert (await failed.recovery())["state"] == "attempting"
    assert (await town.cancel(failed)).status == 200
    assert (await failed.recovery())["stop_requested"] == "stopped_by_operator"
    # What is left finds out how the attempt ended, and nobody takes that away.
    assert (await town.cancel(failed)).status == 409
    reply = await town.api.post("/v1/queue/cancel-pending", {"merchant_id": town.world.merchant_id})
    assert reply.body["changed"] == 0
    for _ in range(4):
        await town.world.pass_time(hours=2)
        await town.world.work()
    row = await failed.recovery()
    assert row["end_reason"] == ("paid_by_retry" if paid else "stopped_by_operator")
    assert len(await failed.charges()) == int(paid)


async def test_a_message_that_was_canceled_is_not_sent_and_the_next_one_is(town: Town) -> None:
    await town.world.policy(message_days=[0, 3, 7], max_attempts=1)
    failed = await town.renewal(decline="lost_card")
    await town.world.work()
    assert len(await town.subjects()) == 1
    await town.cancel(failed, "notify_action_required")  # the one of the third day
    for _ in range(6):
        await town.world.execute("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE task_type = 'dunning_retry'")
        await town.world.work()
        await town.world.pass_time(days=1)
    assert len(await town.subjects()) == 1
    assert await rules(failed, "not_messaged") == ["canceled_by_operator"]
    await town.world.pass_time(days=2)
    await town.world.work()
    assert len(await town.subjects()) == 2


async def test_the_first_message_is_not_queued_again_by_the_next_evaluation(town: Town) -> None:
    await town.world.policy(message_days=[0, 5])
    failed = await town.renewal(decline="lost_card")
    await town.api.post("/v1/pauses", {"task_type": "notify_action_required"})
    await town.world.work()
    await town.world.pass_time(days=2)
    canceled = await town.task_of(failed, "notify_action_required")
    await town.cancel(failed, "notify_action_required")
    await town.api.post("/v1/pauses/end", {"task_type": "notify_action_required"})
    await town.world.execute("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE task_type = 'dunning_retry'")
    await town.world.work()
    assert await town.subjects() == []
    (task,) = await failed.tasks(task_type="notify_action_required")
    assert task["run_at"] == (await failed.recovery())["opened_at"] + timedelta(days=5)
    assert canceled != str(task["public_id"])


async def test_a_canceled_message_that_is_wanted_after_all_is_sent(town: Town) -> None:
    await town.world.policy(message_days=[0])
    failed = await town.renewal(decline="lost_card")
    await town.api.post("/v1/pauses", {"task_type": "notify_action_required"})
    await town.world.work()
    canceled = await town.task_of(failed, "notify_action_required")
    await town.cancel(failed, "notify_action_required")
    await town.api.post("/v1/pauses/end", {"task_type": "notify_action_required"})
    assert (await town.api.post(f"/v1/tasks/{canceled}/retry")).status == 200
    await town.world.work()
    assert len(await town.subjects()) == 1


@pytest.mark.parametrize("wanted_again", [False, True])
async def test_an_end_action_that_was_canceled_is_not_carried_out(town: Town, wanted_again: bool) -> None:
    await town.world.policy(end_action="cancel", window_days=3, message_days=[])
    failed = await town.renewal(decline="lost_card")
    await town.api.post("/v1/pauses", {"task_type": "end_dunning"})
    assert (await failed.finish())["state"] == "exhausted"
    canceled = await town.task_of(failed, "end_dunning")
    await town.cancel(failed, "end_dunning")
    await town.api.post("/v1/pauses/end", {"task_type": "end_dunning"})
    assert await rules(failed, "end_action") == ["canceled_by_operator"]
    if wanted_again:
        await town.api.post(f"/v1/tasks/{canceled}/retry")
    await town.months_pass(4)
    subscription = await town.world.control.object(failed.subscription)
    assert (subscription["status"] == "canceled") == wanted_again


async def test_a_thank_you_that_was_canceled_is_not_sent(town: Town) -> None:
    failed = await town.renewal(decline="try_again_later", clears_after=1)
    await failed.finish()
    before = len(await town.subjects())
    await town.cancel(failed, "thank_customer")
    await town.months_pass(4)
    assert len(await town.subjects()) == before
    assert await rules(failed, "not_messaged") == ["canceled_by_operator"]


async def test_the_end_of_the_ledgers_transaction_is_the_end_of_the_recovery(
    town: Town, database: Database, open_database: OpenDatabase
) -> None:
    """Rolled back, nothing has happened: the task is pending and its recovery goes on."""
    failed = await town.renewal(decline="do_not_honor")
    await town.world.work()
    with pytest.raises(RuntimeError):
        async with open_database(Role.LEDGER) as ledger, ledger.transaction() as db:
            await control.cancel(db, Which(town.world.merchant_id), "a test")
            raise RuntimeError
    assert (await failed.recovery())["state"] == "waiting"
    assert len(await failed.tasks()) == 1
