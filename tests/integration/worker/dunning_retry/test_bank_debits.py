"""A payment that is under way for days: nothing is tried, said or ended meanwhile, and its end decides."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from shared import recovery_stops
from shared.recovery_model import EndReason, Entry, EntryKind
from tests.integration.worker.world import Failed, World

PAID = ("invoice.paid", "invoice.payment_succeeded")
SHORT = {
    "window_days": 3,
    "end_action": "cancel",
    "message_days": [0],
    "schedules": {"insufficient_funds": {"kind": "delays", "hours": [60]}},
}
FAILED = ("invoice.payment_failed", "invoice.updated", "charge.failed")


async def _begun(world: World, *, policy: dict[str, Any] | None = None, **debit: Any) -> Failed:
    """A renewal by debit failed; our retry has begun another debit."""
    if policy is not None:
        await world.policy(**policy)
    failed = await world.fail(debit={"takes_days": None, **debit})
    await failed.attempt_due()
    await world.work()
    return failed


async def _charge(failed: Failed) -> str:
    (attempt,) = await failed.ours()
    return str(attempt["charge_id"])


async def _under_way(failed: Failed) -> str:
    """The charge that is under way at the bank."""
    tries = [each for each in await failed.world.control.attempts(failed.invoice) if each["outcome"] == "processing"]
    return str(tries[-1]["charge"])


async def _ends(failed: Failed, fails: str | None = None) -> None:
    await failed.world.control.end_debit(await _charge(failed), fails)


async def _readings(failed: Failed) -> int:
    return len(await failed.world.control.requests(method="GET", path=f"/v1/invoices/{failed.invoice}"))


async def _mails(world: World) -> int:
    return len(await world.control.outbox())


async def _is_held(failed: Failed) -> None:
    """Through three weeks, whatever is due is done: only reading."""
    world = failed.world
    mails = await _mails(world)
    (began,) = [row for row in await failed.story("decided") if row["rule"] == "payment_under_way"]
    looks = [began["at"]]
    for _ in range(25):
        row = await failed.recovery()
        assert (row["state"], row["next_attempt_at"]) == ("processing", None)
        assert await failed.tasks(task_type="notify_action_required") == []
        (look,) = await failed.tasks()
        looks.append(look["run_at"])
        await failed.look()
    pace = [later - earlier for earlier, later in pairwise(looks)]
    assert timedelta(hours=1) <= pace[0] < timedelta(hours=2)
    assert pace[-1] >= timedelta(days=1) > pace[1] > pace[0], "it is looked for at a growing pace"
    told = [row for row in await failed.story("decided") if row["rule"] == "payment_under_way"]
    assert len(told) == 1, "what has not changed is not told again"
    assert await _mails(world) == mails


# --- Ours -------------------------------------------------------------------------------------------------------------


async def test_a_debit_that_has_begun_is_no_success_and_holds_everything_until_its_end(world: World) -> None:
    failed = await _begun(world, policy={"window_days": 10, "end_action": "cancel", "message_days": [0, 3, 7]})
    (attempt,) = await failed.ours()
    assert (attempt["result"], attempt["finished_at"]) == ("processing", None)
    assert attempt["charge_id"] is not None
    await _is_held(failed)
    assert len(await failed.ours()) == 1
    assert (await world.control.object(failed.subscription))["status"] != "canceled"
    assert await failed.charges() == []


@pytest.mark.parametrize("messages", [[0], []], ids=["after a message", "without one"])
@pytest.mark.parametrize("first", [PAID, PAID[::-1], (), "all"], ids=["paid", "succeeded", "no event", "all events"])
async def test_a_debit_of_ours_that_succeeds_days_later_is_recovered_by_retry(
    world: World, messages: list[int], first: Any
) -> None:
    failed = await _begun(world, policy={"message_days": messages})
    await world.pass_time(days=4)
    await _ends(failed)
    if first:
        await world.hear(*(() if first == "all" else first))
        await world.work()
    else:
        await failed.look()
    row = await failed.recovery()
    assert (row["state"], row["recovered_by"], row["amount_recovered"]) == ("recovered", "retry", 4_200)
    (attempt,) = await failed.ours()
    assert attempt["result"] == "succeeded"
    (charged,) = await failed.charged()
    assert (charged["charge_id"], charged["amount"], charged["currency"]) == (attempt["charge_id"], 4_200, "usd")
    assert await failed.book() == [("recovery_opened", 4_200), ("recovery_recovered", 4_200)]
    assert (await failed.booked())["attempt"] == 1


async def test_a_debit_that_fails_days_later_is_declined_on_its_own_row_and_the_schedule_goes_on(world: World) -> None:
    failed = await _begun(world)
    await world.pass_time(days=4)
    await _ends(failed, "insufficient_funds")
    await world.hear(*FAILED)
    await world.work()
    (attempt,) = await failed.ours()
    assert (attempt["result"], attempt["error_code"]) == ("declined", "insufficient_funds")
    charges = [each["charge_id"] for each in [*await failed.theirs(), *await failed.ours()]]
    assert len(charges) == len(set(charges)), "a charge has one row"
    row = await failed.recovery()
    assert (row["state"], row["decline_cause"]) == ("waiting", "insufficient_funds")
    (now,) = await world.rows("SELECT citadel_now() AS now")
    assert row["next_attempt_at"] > now["now"] + timedelta(hours=12), "the schedule counts from the failure"
    assert (await failed.booked())["attempt"] == 1
    assert await failed.charged() == []


async def test_a_debit_that_failed_for_good_asks_for_another_payment_method(world: World) -> None:
    failed = await _begun(world)
    await _ends(failed, "account_closed")
    await world.hear("charge.failed")
    await world.work()
    assert (await failed.recovery())["state"] == "needs_new_method"


async def test_the_next_debit_after_one_that_failed_is_a_new_attempt(world: World) -> None:
    failed = await _begun(world, takes_days=2, fails="insufficient_funds", clears_after=1)
    row = await failed.finish()
    assert (row["state"], row["recovered_by"], row["amount_recovered"]) == ("recovered", "retry", 4_200)
    assert [each["result"] for each in await failed.ours()] == ["declined", "succeeded"]
    assert len(await failed.charged()) == 1


async def test_a_debit_begun_on_the_last_day_outlives_the_window_and_nothing_is_ended(world: World) -> None:
    failed = await _begun(world, policy=SHORT)
    await world.pass_time(days=3)
    await world.work()
    assert (await failed.recovery())["state"] == "processing"
    await _ends(failed)
    await world.hear(*PAID)
    await world.work()
    assert (await failed.recovery())["state"] == "recovered"
    assert (await world.control.object(failed.subscription))["status"] == "active"


async def test_a_debit_that_fails_after_the_window_ends_the_recovery_as_its_policy_says(world: World) -> None:
    failed = await _begun(world, policy=SHORT)
    await world.pass_time(days=5)
    await _ends(failed, "insufficient_funds")
    await world.hear(*FAILED)
    await world.work()
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("exhausted", "window_over")
    assert (await world.control.object(failed.subscription))["status"] == "canceled"


async def test_a_debit_that_failed_after_which_the_customer_pays_is_not_our_retry(world: World) -> None:
    failed = await _begun(world, policy={"message_days": []})
    await world.pass_time(days=4)
    await _ends(failed, "insufficient_funds")
    await world.control.pay_hosted(failed.invoice)
    await world.hear(*PAID)
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"], row["recovered_by"]) == ("stopped", "paid_elsewhere", None)
    (attempt,) = await failed.ours()
    assert attempt["result"] == "declined"
    assert await failed.charged() == []


@pytest.mark.parametrize("fails", [None, "insufficient_funds"], ids=["it succeeds", "it fails"])
async def test_a_stop_during_a_debit_is_noted_and_the_debit_decides(world: World, fails: str | None) -> None:
    failed = await _begun(world)
    async with world.worker.transaction() as db:
        entry = Entry(EntryKind.CLOSED, "subscription_canceled", "A test stopped it.")
        assert await recovery_stops.request_stop(db, failed.recovery_id, EndReason.SUBSCRIPTION_CANCELED, entry)
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["stop_requested"]) == ("processing", "subscription_canceled")
    await _ends(failed, fails)
    await world.hear("charge.failed", *PAID)
    await world.work()
    row = await failed.recovery()
    end = ("recovered", "paid_by_retry") if fails is None else ("stopped", "subscription_canceled")
    assert (row["state"], row["end_reason"]) == end


@pytest.mark.parametrize("fails", [None, "insufficient_funds"], ids=["it succeeds", "it fails"])
async def test_a_debit_that_has_ended_before_our_commit_has_ended_with_it(world: World, fails: str | None) -> None:
    failed = await world.fail(debit={"takes_days": None})
    await failed.attempt_due()
    with world.stripe.door.holding("GET", "/v1/charges") as read:
        run = asyncio.create_task(world.work())
        await read.has_arrived()
        await world.control.end_debit(await _under_way(failed), fails)
        await world.hear("charge.failed", *PAID)
    await run
    await world.work()
    (attempt,) = await failed.ours()
    row = await failed.recovery()
    if fails is None:
        assert (row["state"], row["recovered_by"], attempt["result"]) == ("recovered", "retry", "succeeded")
    else:
        assert (row["state"], attempt["result"], attempt["error_code"]) == ("waiting", "declined", "insufficient_funds")


async def test_news_of_a_payment_during_a_run_is_looked_at_right_after_it(world: World) -> None:
    failed = await world.fail(debit={"takes_days": None})
    await failed.attempt_due()
    with world.stripe.door.holding("GET", "/v1/charges") as read:
        run = asyncio.create_task(world.engine.run_due())
        await read.has_arrived()
        await world.hear("payment_intent.processing")
        before = await _readings(failed)
    await run
    assert "payment_news" in [row["rule"] for row in await failed.story()]
    assert await _readings(failed) == before + 1, "the run that was under way, and one more"


# --- The customer's own -----------------------------------------------------------------------------------------------


async def _customers_debit(world: World, **policy: Any) -> tuple[Failed, str]:
    """The customer pays on the hosted page by a debit that is under way; it and its charge."""
    await world.policy(**policy)
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.control.pay_hosted(failed.invoice, debit={"type": "us_bank_account", "takes_days": None})
    return failed, await _under_way(failed)


@pytest.mark.parametrize("heard", [True, False], ids=["by an event", "by a reading"])
async def test_the_customers_own_debit_is_waited_for_like_ours(world: World, heard: bool) -> None:
    failed, _ = await _customers_debit(world, end_action="cancel")
    mails = await _mails(world)
    if heard:
        await world.hear("payment_intent.processing")
        await world.work()
    else:
        while (await failed.recovery())["state"] != "processing":
            pending = await failed.tasks() + await failed.tasks(task_type="notify_action_required")
            await world.to(min(each["run_at"] for each in pending))
            await world.work()
    assert await _mails(world) == mails
    await _is_held(failed)
    assert {each["result"] for each in await failed.ours()} <= {"abandoned"}, "one that was due was not made"
    assert "api_pay" not in {each["source"] for each in await world.control.attempts(failed.invoice)}
    assert (await world.control.object(failed.subscription))["status"] != "canceled"


@pytest.mark.parametrize("messages", [[0], []], ids=["after a message", "without one"])
async def test_a_customers_debit_that_succeeds_is_ours_after_a_message(world: World, messages: list[int]) -> None:
    failed, charge = await _customers_debit(world, message_days=messages)
    await world.hear("payment_intent.processing")
    await world.work()
    await world.pass_time(days=4)
    await world.control.end_debit(charge)
    await world.hear(*PAID)
    await world.work()
    row = await failed.recovery()
    if messages:
        assert (row["state"], row["recovered_by"], row["amount_recovered"]) == ("recovered", "message", 4_200)
        assert [(each["charge_id"], each["amount"]) for each in await failed.charged()] == [(charge, 4_200)]
    else:
        assert (row["state"], row["end_reason"]) == ("stopped", "paid_elsewhere")
        assert await failed.charged() == []


async def test_a_customers_debit_that_fails_lets_our_campaign_go_on(world: World) -> None:
    failed, charge = await _customers_debit(world)
    await world.hear("payment_intent.processing")
    await world.work()
    await world.pass_time(days=4)
    mails = await _mails(world)
    await world.control.end_debit(charge, "insufficient_funds")
    await world.hear(*FAILED)
    await world.work()
    row = await failed.recovery()
    assert row["state"] == "waiting"
    assert row["next_attempt_at"] is not None
    for _ in range(10):
        await world.pass_time(days=1)
        await world.work()
    assert await failed.ours() != []
    assert await _mails(world) > mails
