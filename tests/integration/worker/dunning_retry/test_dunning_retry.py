"""A recovery from its first evaluation to its end, on the simulator."""

import asyncio
from datetime import timedelta

import pytest

from services.worker.dossier.story import NEWS
from shared import recoveries, recovery_stops
from shared.recovery_model import EndReason, Entry, EntryKind
from simulator import SECRET_KEY
from tests.integration.worker.world import World


async def test_the_first_evaluation_plans_an_attempt_and_makes_none(world: World) -> None:
    failed = await world.fail(decline="insufficient_funds", clears_in=3600)
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["decline_cause"]) == ("waiting", "insufficient_funds")
    assert row["next_attempt_at"] > row["opened_at"] + timedelta(hours=20)
    (seen,) = await failed.theirs()
    assert (seen["result"], seen["decline_code"], seen["card_network"]) == ("declined", "insufficient_funds", "visa")
    assert await failed.ours() == []
    (task,) = await failed.tasks()
    assert task["run_at"] == row["next_attempt_at"]


async def test_a_due_attempt_collects_the_invoice_once_and_books_it(world: World) -> None:
    failed = await world.fail(amount=4_200, decline="insufficient_funds", clears_in=3600)
    await world.work()
    await failed.until_due()
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["recovered_by"], row["end_reason"]) == ("recovered", "retry", "paid_by_retry")
    assert row["amount_recovered"] == 4_200
    (charge,) = await failed.charges()
    (attempt,) = await failed.ours()
    assert attempt["result"] == "succeeded"
    assert attempt["charge_id"] is not None
    assert (charge["source"], charge["amount"]) == ("api_pay", 4_200)
    booked = await failed.booked()
    assert {name: booked[name] for name in ("attempt", "recovery_recovered")} == {"attempt": 1, "recovery_recovered": 1}
    assert await failed.tasks() == []
    assert await failed.tasks(task_type="notify_action_required") == []


async def test_a_soft_decline_is_tried_again_later(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=2)
    await world.work()
    await failed.until_due()
    await world.work()
    row = await failed.recovery()
    assert row["state"] == "waiting"
    (first,) = await failed.ours()
    assert (first["result"], first["decline_code"]) == ("declined", "do_not_honor")
    assert first["card_fingerprint"] is not None
    await failed.until_due()
    await world.work()
    assert (await failed.recovery())["state"] == "recovered"
    assert [each["number"] for each in await failed.ours()] == [1, 2]
    assert len({each["idempotency_key"] for each in await failed.ours()}) == 2
    assert len(await failed.theirs()) == 1


@pytest.mark.parametrize("code", ["lost_card", "stolen_card", "fraudulent", "do_not_try_again"])
async def test_a_hard_decline_asks_for_another_method_and_is_never_tried_again(world: World, code: str) -> None:
    failed = await world.fail(decline=code)
    await world.work()
    assert (await failed.recovery())["state"] == "needs_new_method"
    await world.pass_time(days=20)
    await world.work()
    assert await failed.ours() == []
    await world.pass_time(days=2)
    await world.work()
    assert (await failed.recovery())["end_reason"] == "window_over"


# --- The truth has changed --------------------------------------------------------------------------------------------


async def test_an_invoice_paid_before_the_attempt_is_not_paid_again(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    await world.control.pay_hosted(failed.invoice)
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["recovered_by"], row["amount_recovered"]) == ("recovered", "message", row["amount_due"])
    assert [each["source"] for each in await failed.charges()] == ["hosted_page"]
    assert [each["result"] for each in await failed.ours()] == ["abandoned"]
    assert "attempt" not in await failed.booked()


async def test_an_invoice_paid_before_any_message_is_not_ours(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.control.pay_hosted(failed.invoice)
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"], row["amount_recovered"]) == ("stopped", "paid_elsewhere", 0)
    assert await world.control.outbox() == []


async def test_an_invoice_paid_outside_stripe_is_not_ours_even_after_a_message(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    client = world.outside.stripe.for_merchant(world.account)
    await client.v1.invoices.pay_async(failed.invoice, {"paid_out_of_band": True})
    await world.work()
    assert (await failed.recovery())["end_reason"] == "paid_elsewhere"


async def test_what_stripe_s_own_retry_collects_is_not_ours_even_after_a_message(world: World) -> None:
    await world.control.change_account(world.account, stripe_retries=[3])
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    assert (await failed.booked())["message"] == 1
    await world.pass_time(days=3, minutes=1)
    row = await failed.finish()
    assert [each["source"] for each in await failed.charges()] == ["stripe_retry"]
    assert (row["state"], row["end_reason"]) == ("stopped", "paid_elsewhere")
    assert [each["result"] for each in await failed.theirs()] == ["declined", "succeeded"]


async def test_stripe_s_own_attempts_count_and_ours_keep_away_from_them(world: World) -> None:
    await world.control.change_account(world.account, stripe_retries=[3])
    failed = await world.fail(decline="do_not_honor", clears_after=2)
    await world.work()
    assert (await failed.story("decided"))[-1]["rule"] == "stripe_tries_itself"
    row = await failed.finish()
    assert row["recovered_by"] == "retry"
    assert len(await failed.theirs()) == 2
    (ours,) = await failed.ours()
    assert ours["started_at"] - (await failed.theirs())[-1]["started_at"] >= timedelta(hours=24)


@pytest.mark.parametrize(("action", "reason"), [("void", "voided"), ("uncollectible", "marked_uncollectible")])
async def test_an_invoice_that_was_written_off_is_left_alone(world: World, action: str, reason: str) -> None:
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    invoices = world.outside.stripe.for_merchant(world.account).v1.invoices
    if action == "void":
        await invoices.void_invoice_async(failed.invoice)
    else:
        await invoices.mark_uncollectible_async(failed.invoice)
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", reason)
    assert await failed.charges() == []


async def test_a_canceled_subscription_is_left_alone(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    await world.control.cancel_subscription(failed.subscription)
    await world.work()
    assert (await failed.recovery())["end_reason"] == "subscription_canceled"
    assert await failed.charges() == []


async def test_an_invoice_voided_between_the_reading_and_the_payment_is_read_again(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    with world.stripe.door.holding("POST", "*/pay") as payment:
        run = asyncio.create_task(world.work())
        await payment.has_arrived()
        await world.outside.stripe.for_merchant(world.account).v1.invoices.void_invoice_async(failed.invoice)
    await run
    assert [each["result"] for each in await failed.ours()] == ["failed"]
    assert (await failed.recovery())["end_reason"] == "voided"


# --- The customer's part ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", sorted(NEWS))
async def test_what_happens_between_the_reading_and_the_call_is_looked_at_first(world: World, rule: str) -> None:
    """As a debit that the customer begins, or a pause. The event's transaction began before ours and waited."""
    await world.policy(driver="citadel", message_days=[])
    failed = await world.fail(decline="insufficient_funds", clears_in=3600)
    await world.work()
    await failed.until_due()
    async with world.worker.transaction() as db:
        await db.execute("SELECT 1")
        with world.stripe.door.holding("GET", "/v1/invoices/*") as reading:
            running = asyncio.create_task(world.engine.run_due())
            await reading.has_arrived()
            await recoveries.record(db, failed.recovery_id, Entry(EntryKind.CHANGED, rule, "Something happened."))
            await db.execute("COMMIT")
        await running
        await db.execute("BEGIN")
    assert ([each["result"] for each in await failed.ours()], await failed.charges()) == (["abandoned"], [])
    await failed.until_due()
    await world.work()
    assert (await failed.recovery())["end_reason"] == "paid_by_retry"
    assert [each["result"] for each in await failed.ours()] == ["abandoned", "succeeded"]
    assert len(await failed.charges()) == 1


async def test_an_attempt_that_needs_the_customer_is_not_repeated_and_theirs_counts_by_message(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1, needs_3ds=True)
    await failed.attempt_due()
    await world.work()
    assert [each["result"] for each in await failed.ours()] == ["requires_action"]
    assert (await failed.recovery())["state"] == "action_required"
    await world.pass_time(days=2)
    await world.work()
    kinds = [row["detail"]["kind"] for row in await failed.story("messaged")]
    assert kinds[-1] == "action_required"
    await world.control.authenticate(failed.invoice)
    row = await failed.finish()
    assert (row["state"], row["recovered_by"]) == ("recovered", "message")
    assert [each["source"] for each in await failed.charges()] == ["hosted_page"]
    assert len(await failed.ours()) == 1


async def test_a_renewal_that_needs_the_customer_is_never_tried_by_us(world: World) -> None:
    failed = await world.fail(needs_3ds=True)
    await world.work()
    assert (await failed.recovery())["state"] == "action_required"
    await world.pass_time(days=22)
    await world.work()
    assert (await failed.recovery())["state"] == "exhausted"
    assert await failed.ours() == []


async def test_a_new_card_is_tried_at_once(world: World) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    assert (await failed.recovery())["state"] == "needs_new_method"
    await world.control.add_card(failed.customer)
    await world.execute("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE task_type = 'dunning_retry'")
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["recovered_by"]) == ("recovered", "retry")
    (attempt,) = await failed.ours()
    assert attempt["payment_method_id"] != failed.payment_method


async def test_an_exhausted_recovery_is_over(world: World) -> None:
    failed = await world.fail(decline="insufficient_funds")
    row = await failed.finish()
    assert row["state"] == "exhausted"
    ours = await failed.ours()
    assert 1 <= len(ours) <= 15
    assert {each["result"] for each in ours} == {"declined"}
    before = len(await world.control.attempts(failed.invoice))
    await world.pass_time(days=60)
    await world.work()
    assert len(await world.control.attempts(failed.invoice)) == before
    assert await failed.tasks() == []
    assert (await failed.booked())["recovery_exhausted"] == 1


# --- Stops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clears_after", [1, 2])
async def test_a_stop_during_an_attempt_waits_for_its_outcome(world: World, clears_after: int) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=clears_after)
    await failed.attempt_due()
    with world.stripe.door.holding("POST", "*/pay") as payment:
        run = asyncio.create_task(world.work())
        await payment.has_arrived()
        async with world.worker.transaction() as db:
            entry = Entry(EntryKind.STOP_REQUESTED, "t", "t")
            assert await recovery_stops.request_stop(db, failed.recovery_id, EndReason.DISPUTED, entry)
    await run
    row = await failed.recovery()
    if clears_after == 1:
        assert (row["state"], row["recovered_by"]) == ("recovered", "retry")
    else:
        assert (row["state"], row["end_reason"]) == ("stopped", "disputed")
    assert await failed.tasks() == []
    assert len(await failed.ours()) == 1


async def test_a_disconnected_merchant_s_recovery_ends_without_a_call(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.execute("UPDATE merchants SET status = 'disconnected'")
    await world.work()
    assert (await failed.recovery())["end_reason"] == "merchant_gone"
    assert await world.control.requests(path="/v1/") == []


async def test_a_wrong_platform_key_stops_nothing_and_is_tried_again(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    world.simulation.settings.secret_key = "sk_test_rotated"
    await world.work()
    (task,) = await failed.tasks()
    assert (await failed.recovery())["state"] == "open"
    assert task["attempts"] == 0
    assert task["last_error"].startswith("stripe: 401")
    world.simulation.settings.secret_key = SECRET_KEY
    assert (await failed.finish())["state"] == "recovered"


async def test_an_invoice_that_stripe_does_not_know_ends_its_recovery(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    del world.simulation.world.accounts[world.account].objects["invoice"][failed.invoice]
    await world.work()
    assert (await failed.recovery())["end_reason"] == "invoice_missing"


# --- What is written down ---------------------------------------------------------------------------------------------


async def test_every_step_is_told_with_its_rule_and_the_next_step(world: World) -> None:
    failed = await world.fail(decline="insufficient_funds", clears_after=2)
    await failed.finish()
    for row in await failed.story():
        assert row["rule"]
        assert row["explanation"].endswith(".")
    decided = await failed.story("decided")
    assert all(row["next_step"] and row["next_at"] for row in decided)
    assert all({"rule", "text", "inputs", "considered"} == set(row["detail"]["reason"]) for row in decided)
    attempted = await failed.story("attempted")
    assert [row["detail"]["result"] for row in attempted] == ["declined", "succeeded"]
    assert attempted[0]["detail"]["codes"]["decline_code"] == "insufficient_funds"
    assert [row["to_state"] for row in await failed.story("closed")] == ["recovered"]


async def test_looking_again_without_news_says_nothing_twice(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    before = len(await failed.story())
    for _ in range(3):
        await world.execute("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE task_type = 'dunning_retry'")
        await world.work()
    assert len(await failed.story()) == before
    assert len(await failed.tasks()) == 1


async def test_nothing_personal_is_stored(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=2)
    await failed.finish()
    stored = []
    for table in ("recoveries", "attempts", "recovery_timeline", "scheduled_tasks", "usage_logs"):
        stored += [str(dict(row)) for row in await world.rows(f"SELECT * FROM {table}")]  # noqa: S608 - names of ours
    text = "\n".join(stored)
    assert [needle for needle in await world.control.pii() if needle in text] == []
