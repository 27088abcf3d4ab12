"""What a policy says is what happens at Stripe: drivers, backup methods, end actions, the holdout, segments."""

from datetime import timedelta
from typing import Any

import pytest

from services.worker.handlers import discover
from services.worker.outside.lease import Lease
from shared import recoveries, recovery_stops
from shared.queue import tasks
from shared.recovery_model import EndReason, Entry, EntryKind, RecoveryState
from tests.integration.worker.world import PACE, Failed, World


async def _second_card(failed: Failed, **card: Any) -> str:
    made = await failed.world.control.add_card(failed.customer, default=False, **card)
    return str(made["id"])


async def test_the_driver_stripe_leaves_every_attempt_to_stripe(world: World) -> None:
    await world.policy(driver="stripe", window_days=3, message_days=[0])
    failed = await world.fail(decline="insufficient_funds")
    row = await failed.finish()
    assert (row["state"], row["end_reason"]) == ("exhausted", "window_over")
    assert await failed.ours() == []
    assert "driver_is_stripe" in {entry["rule"] for entry in await failed.story("decided")}


@pytest.mark.parametrize(
    ("action", "check"),
    [
        ("cancel", lambda sub, _invoice: sub["status"] == "canceled"),
        ("pause", lambda sub, _invoice: sub["pause_collection"]["behavior"] == "keep_as_draft"),
        ("mark_uncollectible", lambda _sub, invoice: invoice["status"] == "uncollectible"),
    ],
)
async def test_an_end_action_is_carried_out_once_with_its_own_key_and_told(
    world: World, action: str, check: Any
) -> None:
    await world.policy(end_action=action, window_days=2, message_days=[0])
    failed = await world.fail(decline="lost_card")
    assert (await failed.finish())["state"] == "exhausted"
    await world.work()
    sub = await world.control.object(failed.subscription)
    invoice = await world.control.object(failed.invoice)
    assert check(sub, invoice)
    (entry,) = await failed.story("end_action")
    assert (entry["rule"], entry["detail"]["action"]) == ("end_action_done", action)
    keys = [each["idempotency_key"] for each in await world.control.requests(path="/v1/")]
    assert keys.count(f"{failed.recovery_id}:end:{action}") == 1


async def test_an_end_action_can_be_taken_back_until_it_is_done(world: World) -> None:
    await world.policy(end_action="cancel", window_days=2, message_days=[0])
    failed = await world.fail(decline="lost_card")
    await world.work()
    (pending,) = await failed.tasks()
    await world.to(pending["run_at"])
    world_engine = world.another_engine()
    handler = discover()["dunning_retry"]
    async with world.worker.transaction() as db:
        [task] = [each for each in await tasks.claim(db, "w", 5, PACE.lease) if each.task_type == "dunning_retry"]
        job = handler.understand(task)
        plan = await handler.load(db, job)
    outcome = await handler.perform(world.outside.remote(Lease(PACE.lease)), plan)
    async with world.worker.transaction() as db:
        await tasks.complete(db, task)
        await handler.commit(db, job, outcome)
    assert (await failed.recovery())["state"] == "exhausted"
    await world.execute("UPDATE scheduled_tasks SET status = 'canceled' WHERE task_type = 'end_dunning'")
    await world_engine.run_due()
    sub = await world.control.object(failed.subscription)
    assert sub["status"] != "canceled"


async def test_an_end_action_is_left_out_when_the_invoice_was_paid_meanwhile(world: World) -> None:
    await world.policy(end_action="cancel", window_days=2, message_days=[0])
    failed = await world.fail(decline="lost_card")
    await world.work()
    (pending,) = await failed.tasks()
    await world.to(pending["run_at"])
    await world.execute(
        "UPDATE scheduled_tasks SET run_at = citadel_now() + interval '1 day' "
        "WHERE task_type = 'notify_action_required' AND status = 'pending'"
    )
    async with world.worker.transaction() as db:
        entry = Entry(EntryKind.CLOSED, "window_over", "The end.")
        await recoveries.close(db, failed.recovery_id, RecoveryState.EXHAUSTED, EndReason.WINDOW_OVER, entry)
        payload = {"invoice_id": failed.invoice, "action": "cancel"}
        await tasks.enqueue(
            db, tasks.NewTask(world.merchant_id, "end_dunning", payload, recovery_id=failed.recovery_id)
        )
    await world.control.pay_hosted(failed.invoice)
    await world.work()
    (entry_row,) = await failed.story("end_action")
    assert entry_row["rule"] == "invoice_settled"
    assert (await world.control.object(failed.subscription))["status"] != "canceled"


async def test_a_backup_card_on_file_is_charged_when_the_policy_allows_it(world: World) -> None:
    await world.policy(backup_methods=True)
    failed = await world.fail(decline="lost_card")
    other = await _second_card(failed)
    row = await failed.finish()
    assert (row["state"], row["end_reason"]) == ("recovered", "paid_by_retry")
    (ours,) = await failed.ours()
    assert ours["payment_method_id"] == other
    assert len(await failed.charges()) == 1
    assert ours["card_fingerprint"] is not None


async def test_a_backup_card_is_not_touched_when_the_policy_does_not_allow_it(world: World) -> None:
    failed = await world.fail(decline="lost_card")
    await _second_card(failed)
    await world.work()
    assert (await failed.recovery())["state"] == "needs_new_method"
    assert await failed.ours() == []


async def test_the_holdout_is_watched_and_left_alone(world: World) -> None:
    await world.policy(holdout_share=0.5, window_days=3, message_days=[0], end_action="cancel")
    lives = [await world.fail(decline="do_not_honor", clears_after=1) for _ in range(8)]
    await world.work()
    held = [each for each in lives if (await each.recovery())["holdout"]]
    assert held
    assert len(held) < len(lives)
    for failed in held:
        row = await failed.finish()
        assert (row["state"], await failed.ours()) == ("exhausted", [])
        assert await failed.story("messaged") == []
        assert await failed.tasks(task_type="end_dunning") == []


async def test_a_segment_has_its_own_rules_and_the_timeline_names_it(world: World) -> None:
    small = {"name": "small", "when": {"amount_below": {"eur": 1000, "usd": 1000}}, "then": {"window_days": 2}}
    await world.policy(message_days=[0], segments=[small])
    failed = await world.fail(amount=900, decline="do_not_honor")
    row = await failed.finish()
    assert row["closed_at"] - row["opened_at"] < timedelta(days=3)
    decided = (await failed.story("decided"))[0]
    assert decided["detail"]["reason"]["inputs"]["segment"] == "small"


async def test_below_the_minimum_amount_nothing_is_done(world: World) -> None:
    await world.policy(minimum_amounts={"eur": 1000, "usd": 1000})
    failed = await world.fail(amount=900, decline="do_not_honor")
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "below_minimum_amount")
    assert await failed.story("messaged") == []


async def test_a_stop_between_the_claim_and_the_call_is_seen_right_before_the_call(world: World) -> None:
    """The truth at Stripe would allow the charge; only our own rows know of the stop."""
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await world.execute("UPDATE scheduled_tasks SET status = 'canceled' WHERE task_type = 'notify_action_required'")
    handler = discover()["dunning_retry"]
    async with world.worker.transaction() as db:
        (task,) = await tasks.claim(db, "w", 1, PACE.lease)
        job = handler.understand(task)
        plan = await handler.load(db, job)
    async with world.worker.transaction() as db:
        await recovery_stops.request_stop(
            db, failed.recovery_id, EndReason.REFUNDED, Entry(EntryKind.STOP_REQUESTED, "t", "t")
        )
    outcome = await handler.perform(world.outside.remote(Lease(PACE.lease)), plan)
    assert await failed.charges() == []
    async with world.worker.transaction() as db:
        await tasks.complete(db, task)
        await handler.commit(db, job, outcome)
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "refunded")
    assert [each["result"] for each in await failed.ours()] == ["abandoned"]


async def test_learned_timing_reads_the_merchants_own_retries(world: World) -> None:
    """Little data keeps the schedule's own time, and a run that learns ends as any other."""
    await world.policy(timing="learned", message_days=[])
    for _ in range(2):
        failed = await world.fail(decline="do_not_honor", clears_after=2)
        assert (await failed.finish())["state"] == "recovered"
    decided = await failed.story("decided")
    assert decided[0]["detail"]["reason"]["inputs"]["timing"] == "learned"
