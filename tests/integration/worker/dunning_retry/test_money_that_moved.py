"""What is booked as recovered is what moved by us: each charge's own amount, once, whatever the invoice's sums say."""

import random
from typing import Any

import pytest

from shared.queue import control
from shared.queue.control import Which
from simulator.wire import SimulatorError
from tests.integration.worker.world import Failed, World

PAID = ("invoice.paid", "invoice.payment_succeeded")
NO_MESSAGES: dict[str, Any] = {"message_days": []}


async def _ours(failed: Failed) -> int:
    """What the bank says of the invoice that was charged by our attempts, or by its customer after a message."""
    messaged = bool(await failed.story("messaged"))
    sources = {"api_pay", "hosted_page"} if messaged else {"api_pay"}
    moved = await failed.world.control.book(invoice=failed.invoice)
    return sum(int(each["amount"]) for each in moved if each["kind"] == "charge" and each["source"] in sources)


async def _is_booked(failed: Failed) -> int:
    """All that is booked says the same, and what the bank says; how much."""
    row = await failed.recovery()
    charged = await failed.charged()
    total = sum(int(each["amount"]) for each in charged)
    assert total == row["amount_recovered"] == await _ours(failed)
    assert total == sum(amount for kind, amount in await failed.book() if kind == "recovery_recovered")
    (totals,) = await failed.world.rows("SELECT sum(recovered_cents)::bigint AS cents FROM merchant_totals")
    (all_,) = await failed.world.rows("SELECT COALESCE(sum(amount), 0)::bigint AS cents FROM recovered_charges")
    assert totals["cents"] == all_["cents"]
    for each in charged:
        (moved,) = await failed.world.control.book(charge=each["charge_id"])
        assert (moved["amount"], moved["currency"]) == (each["amount"], each["currency"])
    return total


async def test_a_credit_note_over_everything_is_no_money_of_ours(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await world.control.credit_note(failed.invoice, 4_200)
    await failed.until_due()
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"], row["amount_recovered"]) == ("stopped", "credited", 0)
    assert await _is_booked(failed) == 0
    assert (await failed.story())[-1]["explanation"] == "The invoice was settled without a payment: it was credited."


@pytest.mark.parametrize("first", [True, False], ids=["the event first", "the reading first"])
async def test_a_retry_books_what_it_charged_after_a_credit_note(world: World, first: bool) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await world.control.credit_note(failed.invoice, 3_000)
    if first:
        await world.hear("invoice.updated")
    await failed.until_due()
    await world.work()
    assert (await failed.recovery())["recovered_by"] == "retry"
    (attempt,) = await failed.ours()
    assert attempt["amount"] == 1_200
    assert await _is_booked(failed) == 1_200
    assert (await failed.recovery())["amount_due"] == 4_200


async def test_a_retry_books_what_it_charged_after_the_merchant_charged_a_part(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await world.control.attach_payment(failed.invoice, 3_000)
    await failed.until_due()
    await world.work()
    assert (await failed.recovery())["recovered_by"] == "retry"
    assert await _is_booked(failed) == 1_200


@pytest.mark.parametrize("heard", [PAID, PAID[::-1], ()], ids=["paid", "succeeded", "no event"])
async def test_a_message_books_what_the_customer_paid_and_not_the_merchants_part(
    world: World, heard: tuple[str, ...]
) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.control.attach_payment(failed.invoice, 3_000)
    await world.control.pay_hosted(failed.invoice)
    await world.hear(*(heard or ("nothing",)))
    await world.work()
    if not heard:
        await failed.until_due()
        await world.work()
    row = await failed.recovery()
    assert (row["state"], row["recovered_by"]) == ("recovered", "message")
    assert await _is_booked(failed) == 1_200


async def test_what_the_merchant_charged_in_parts_alone_is_not_ours(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.control.attach_payment(failed.invoice, 3_000)
    await world.hear("invoice.updated")
    await world.work()
    await world.control.attach_payment(failed.invoice, 1_200)
    await world.hear(*PAID)
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "paid_elsewhere")
    assert await _is_booked(failed) == 0


async def test_what_an_event_alone_took_for_the_customers_money_is_corrected_by_its_charges(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.control.attach_payment(failed.invoice, 4_200)
    await world.hear("invoice.payment_succeeded")
    assert (await failed.recovery())["amount_recovered"] == 4_200, "nothing in the event says who paid"
    await world.work()
    assert await _is_booked(failed) == 0
    assert [row["rule"] for row in await failed.story("changed")][-1] == "money_corrected"


async def test_only_what_was_left_when_it_opened_is_booked(world: World) -> None:
    made = await world.control.add_customer(world.account, card={"decline": "do_not_honor"})
    subscription = await world.control.add_subscription(world.account, made["customer"]["id"], amount=4_200)
    invoice = await world.control.renew(subscription["id"], paid_before=3_000)
    assert invoice is not None
    await world.hear("invoice.payment_failed")
    (row,) = await world.rows("SELECT * FROM recoveries")
    assert (row["amount_due"], row["paid_before"]) == (1_200, 3_000)
    ids = (made["customer"]["id"], subscription["id"], made["payment_method"]["id"])
    failed = Failed(world, row["id"], invoice["id"], *ids)
    await world.work()
    await world.control.pay_hosted(invoice["id"])
    await world.hear("invoice.payment_succeeded")
    assert (await failed.recovery())["amount_recovered"] == 1_200, "at once, before anything is read"
    assert await failed.charged() == []
    await world.work()
    assert await _is_booked(failed) == 1_200


async def test_the_charges_of_a_payment_that_an_event_told_are_read_afterwards(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.control.pay_hosted(failed.invoice)
    await world.hear("invoice.payment_succeeded")
    assert (await failed.recovery())["state"] == "recovered"
    assert await failed.charged() == []
    await world.work()
    assert await _is_booked(failed) == 4_200
    assert await failed.book() == [("recovery_opened", 4_200), ("recovery_recovered", 4_200)], "nothing is corrected"


async def test_stripe_that_collects_by_itself_unannounced_is_not_the_customer(world: World) -> None:
    failed = await world.fail(decline="insufficient_funds")
    await failed.attempt_due()
    await world.work()
    await world.pass_time(minutes=4)
    await world.control.set_script(failed.payment_method)
    await world.control.stripe_retry(failed.invoice)
    await world.hear(*PAID)
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "paid_elsewhere")
    assert await _is_booked(failed) == 0


# --- After an end -----------------------------------------------------------------------------------------------------

SHORT = {"window_days": 3, "message_days": [0], "end_action": "cancel"}


async def _exhausted(world: World, **policy: Any) -> Failed:
    await world.policy(**{**SHORT, **policy})
    failed = await world.fail(decline="do_not_honor")
    row = await failed.finish()
    assert row["state"] == "exhausted"
    await world.work()
    return failed


async def test_money_after_an_end_that_is_ours_is_booked_and_told_and_the_end_is_taken_back(world: World) -> None:
    failed = await _exhausted(world)
    assert (await world.control.object(failed.subscription))["status"] == "canceled"
    await world.pass_time(days=2)
    await world.control.pay_hosted(failed.invoice)
    await world.hear(*PAID)
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"], row["recovered_by"]) == ("recovered", "paid_after_message", "message")
    assert await failed.book() == [
        ("recovery_opened", 4_200),
        ("recovery_exhausted", 4_200),
        ("recovery_exhausted", -4_200),
        ("recovery_recovered", 4_200),
    ]
    (totals,) = await world.rows("SELECT * FROM merchant_totals")
    assert (totals["exhausted_cents"], totals["exhausted_count"]) == (0, 0)
    assert (totals["recovered_cents"], totals["recovered_count"]) == (4_200, 1)
    assert await _is_booked(failed) == 4_200
    told = (await failed.story("closed"))[-1]
    assert (told["rule"], told["from_state"], told["to_state"]) == ("paid_after_end", "exhausted", "recovered")
    assert await failed.tasks(task_type="thank_customer") == [], "its subscription is gone: nothing goes on"


async def _exhausted_with_its_end_action_waiting(world: World) -> Failed:
    await world.policy(**SHORT)
    failed = await world.fail(decline="do_not_honor")
    async with world.database.transaction() as db:
        await control.pause(db, Which(task_type="end_dunning"), "a test")
    assert (await failed.finish())["state"] == "exhausted"
    return failed


async def _resume(world: World) -> None:
    async with world.database.transaction() as db:
        await control.resume(db, Which(task_type="end_dunning"))
    await world.work()


async def test_money_that_comes_before_the_end_action_was_carried_out_cancels_it_and_is_thanked_for(
    world: World,
) -> None:
    failed = await _exhausted_with_its_end_action_waiting(world)
    await world.control.pay_hosted(failed.invoice)
    await world.hear(*PAID)
    await world.work()
    await _resume(world)
    assert (await failed.recovery())["state"] == "recovered"
    assert await _is_booked(failed) == 4_200
    assert (await world.control.object(failed.subscription))["status"] == "active"
    assert len(await failed.story("thanked")) == 1


async def test_an_end_action_waits_for_a_debit_that_began_after_the_end(world: World) -> None:
    failed = await _exhausted_with_its_end_action_waiting(world)
    await world.control.pay_hosted(failed.invoice, debit={"type": "us_bank_account", "takes_days": 4})
    await _resume(world)
    for _ in range(4):
        (task,) = await failed.tasks(task_type="end_dunning")
        await world.to(task["run_at"])
        await world.work()
    assert (await world.control.object(failed.subscription))["status"] == "past_due"
    await world.pass_time(days=4)
    await world.hear(*PAID)
    await world.work()
    assert (await failed.recovery())["state"] == "recovered"
    assert await failed.tasks(task_type="end_dunning") == []
    assert (await world.control.object(failed.subscription))["status"] == "active"


async def test_money_after_an_end_that_is_not_ours_is_told_and_nothing_more(world: World) -> None:
    failed = await _exhausted(world, message_days=[], end_action="leave")
    await world.control.pay_hosted(failed.invoice)
    await world.hear(*PAID)
    await world.work()
    await world.hear(*PAID)
    await world.work()
    assert (await failed.recovery())["state"] == "exhausted"
    assert [row["rule"] for row in await failed.story()].count("paid_after_end") == 1
    assert await failed.book() == [("recovery_opened", 4_200), ("recovery_exhausted", 4_200)]
    assert await _is_booked(failed) == 0


async def test_nothing_is_ended_while_a_payment_that_began_after_the_end_is_under_way(world: World) -> None:
    await world.policy(**SHORT)
    failed = await world.fail(decline="do_not_honor")
    for _ in range(20):
        row = await failed.recovery()
        (task,) = await failed.tasks()
        if (task["run_at"] - row["opened_at"]).days >= 3:
            break
        await world.to(task["run_at"])
        await world.work()
    await world.control.pay_hosted(failed.invoice, debit={"type": "us_bank_account", "takes_days": 4})
    await world.to(task["run_at"])
    await world.work()
    assert (await failed.recovery())["state"] == "processing"
    assert (await world.control.object(failed.subscription))["status"] != "canceled"


async def test_a_charge_that_fails_after_it_had_succeeded_leaves_no_money_booked(world: World) -> None:
    failed = await world.fail(debit={"takes_days": 2})
    row = await failed.finish()
    assert (row["state"], row["amount_recovered"]) == ("recovered", 4_200)
    (charged,) = await failed.charged()
    charge = world.simulation.world.account_of(charged["charge_id"]).objects["charge"][charged["charge_id"]]
    charge.update(status="failed", paid=False, failure_code="debit_not_authorized")
    await world.control.emit("charge.failed", charged["charge_id"])
    await world.hear("charge.failed")
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["amount_recovered"]) == ("recovered", 0)
    assert await failed.book() == [
        ("recovery_opened", 4_200),
        ("recovery_recovered", 4_200),
        ("recovery_recovered", -4_200),
    ]
    (charged,) = await failed.charged()
    assert charged["failed_at"] is not None


# --- Any mixture ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_credited_paid_in_parts_or_debited_the_book_is_the_banks(world: World, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - a story, no secret
    await world.policy(message_days=draw.choice([[0], [], [0, 3]]), end_action="leave", window_days=21)
    if draw.random() < 0.5:
        debit = {
            "takes_days": draw.choice([1, 3]),
            "fails": draw.choice([None, "insufficient_funds"]),
            "clears_after": 1,
        }
        failed = await world.fail(debit=debit)
    else:
        failed = await world.fail(decline="insufficient_funds", clears_after=draw.choice([1, 2, 9]))
    await world.work()
    for _ in range(14):
        invoice = await world.control.object(failed.invoice)
        left, open_ = invoice["amount_remaining"], invoice["status"] == "open"
        act = draw.choice(["credit", "part", "pay", "debit", "wait", "wait", "all"]) if open_ else "wait"
        part = draw.randrange(100, max(left, 101))
        try:
            match act:
                case "credit":
                    await world.control.credit_note(failed.invoice, min(part, left))
                case "part":
                    await world.control.attach_payment(failed.invoice, min(part, left))
                case "pay" if draw.random() < 0.3:
                    await world.control.pay_hosted(failed.invoice)
                case "debit" if draw.random() < 0.5:
                    script = {"takes_days": 2, "fails": draw.choice([None, "insufficient_funds"])}
                    await world.control.pay_hosted(failed.invoice, debit={"type": "us_bank_account", **script})
                case "all" if draw.random() < 0.1:
                    await world.control.credit_note(failed.invoice, left)
                case _:
                    pass
        except SimulatorError:
            pass  # something is under way: Stripe refuses
        if draw.random() < 0.7:
            await world.hear()
        await world.work()
        await world.pass_time(hours=draw.choice([3, 20, 50]))
        await world.work()
    await world.hear()
    await world.work()
    assert (await failed.recovery())["state"] in {
        "recovered",
        "stopped",
        "exhausted",
        "waiting",
        "processing",
        "needs_new_method",
    }
    await _is_booked(failed)
