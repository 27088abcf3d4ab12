"""What each event does to the recoveries, the queue and the ledger."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared import recoveries
from shared.clock import business_now
from shared.events.incoming import read_event
from shared.events.taking import take, take_listed
from shared.ids import MerchantId, RecoveryId
from shared.queue import tasks
from shared.recovery_model import Entry, EntryKind, RecoveryState
from tests.integration.ingress.world import ACCOUNT, World, new_id
from tests.unit.shared.events.examples import event_of, invoice, invoice_of_2014, invoice_of_2019

PAID = invoice(amount_paid=2000, amount_remaining=0, status="paid")

STRIPE_TRIES = {"stripe_next_attempt_at": "2026-11-05T09:00:00+00:00"}

ATTEMPTED = """
INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, result, amount, currency,
    payment_intent_id, charge_id)
VALUES ($1::uuid, $2, 'citadel', 1, $1::uuid || ':1', 'declined', 2000, 'usd', 'pi_1', 'ch_1')
"""

RUN = """
UPDATE scheduled_tasks
SET status = 'running', locked_by = 'worker-1', lease_expires_at = citadel_now() + interval '1 minute'
"""

TOTALS = "SELECT recovered_cents, stopped_cents, stopped_count FROM merchant_totals WHERE currency = 'usd'"


async def queue_message(world: World, recovery_id: RecoveryId) -> None:
    async with world.database.transaction() as db:
        payload = {"kind": "payment_failed", "invoice_id": "in_1"}
        later = await business_now(db) + timedelta(days=1)
        await tasks.enqueue(
            db,
            tasks.NewTask(
                world.merchant_id,
                "notify_action_required",
                payload,
                run_at=later,
                recovery_id=recovery_id,
                unique_key=f"notify_action_required:{recovery_id}",
            ),
        )


# -- paid -------------------------------------------------------------------------------------------------------------


async def test_a_payment_after_our_message_is_recovered_by_the_message(world: World) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id, RecoveryState.ACTION_REQUIRED)
    await world.message(recovery_id)
    await world.happen("invoice.payment_succeeded", PAID)
    recovery = await world.recovery()
    assert (recovery["state"], recovery["recovered_by"], recovery["amount_recovered"]) == ("recovered", "message", 2000)
    assert await world.tasks() == [
        ("dunning_retry", "canceled", False),
        ("thank_customer", "pending", True),
        ("dunning_retry", "pending", True),
    ], "the charges are read afterwards"
    assert tuple((await world.rows(TOTALS))[0]) == (2000, 0, 0)


@pytest.mark.parametrize("paid", [PAID, invoice_of_2019(amount_paid=2000, paid=True)])
async def test_a_payment_before_any_message_is_not_ours(world: World, paid: dict[str, Any]) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await world.happen("invoice.payment_succeeded", paid)
    recovery = await world.recovery()
    assert (recovery["state"], recovery["end_reason"], recovery["amount_recovered"]) == ("stopped", "paid_elsewhere", 0)
    assert await world.tasks() == [("dunning_retry", "canceled", False)]


@pytest.mark.parametrize(
    "paid",
    [
        invoice_of_2019(amount_paid=2000, paid=True, paid_out_of_band=True),
        invoice(amount_paid=2000, amount_paid_off_stripe=2000),
        invoice(amount_paid=2000, amount_due=2000, paid_out_of_band=True),
    ],
)
async def test_what_was_paid_outside_stripe_is_not_ours_even_after_a_message(
    world: World, paid: dict[str, Any]
) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await world.message(recovery_id)
    await world.happen("invoice.paid", paid)
    recovery = await world.recovery()
    assert (recovery["state"], recovery["end_reason"]) == ("stopped", "paid_elsewhere")


@pytest.mark.parametrize("kind", ["invoice.paid", "invoice.payment_succeeded"])
async def test_an_invoice_that_was_credited_in_full_is_no_money_of_ours(world: World, kind: str) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await world.message(recovery_id)
    await world.happen(kind, invoice(amount_due=0, amount_paid=0, amount_remaining=0, status="paid"))
    recovery = await world.recovery()
    assert (recovery["state"], recovery["end_reason"], recovery["amount_recovered"]) == ("stopped", "credited", 0)
    assert (await world.story())[-1] == "credited"


async def test_only_what_was_paid_since_the_failure_is_booked(world: World) -> None:
    recovery_id = await world.fail(amount_due=5000, amount_paid=3000, amount_remaining=2000)
    await world.wait(recovery_id)
    await world.message(recovery_id)
    await world.happen("invoice.payment_succeeded", invoice(amount_due=5000, amount_paid=5000, status="paid"))
    recovery = await world.recovery()
    assert (recovery["state"], recovery["amount_due"], recovery["amount_recovered"]) == ("recovered", 2000, 2000)
    assert tuple((await world.rows(TOTALS))[0]) == (2000, 0, 0)


@pytest.mark.parametrize(
    "doubtful", [invoice_of_2014(paid=True), invoice(amount_paid=2000, currency="eur"), invoice(currency="?")]
)
async def test_a_payment_whose_sum_is_in_doubt_is_read_first(world: World, doubtful: dict[str, Any]) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await world.message(recovery_id)
    await world.happen("invoice.payment_succeeded", doubtful)
    assert (await world.recovery())["state"] == "waiting"
    assert await world.tasks() == [("dunning_retry", "pending", True)]


async def test_a_payment_after_an_attempt_of_stripes_own_that_it_had_not_announced_is_read_first(world: World) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await world.message(recovery_id)
    await world.execute("UPDATE recoveries SET stripe_attempts = 1 WHERE id = $1", recovery_id)
    await world.happen("invoice.payment_succeeded", {**PAID, "attempt_count": 2})
    assert (await world.recovery())["state"] == "waiting"
    assert await world.tasks() == [("dunning_retry", "pending", True)]


async def test_a_payment_after_a_part_was_paid_by_whomever_is_read_first(world: World) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    part = invoice(amount_paid=500, amount_remaining=1500)
    await world.happen("invoice.updated", part, {"amount_paid": 0, "amount_remaining": 2000})
    await world.message(recovery_id)
    await world.happen("invoice.payment_succeeded", PAID)
    assert (await world.recovery())["state"] == "waiting"


async def test_a_payment_after_our_message_is_read_first_where_stripe_tries_by_itself_too(world: World) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    announced = Entry(EntryKind.DECIDED, "stripe_tries_itself", "Stripe has an attempt scheduled.", STRIPE_TRIES)
    async with world.database.transaction() as db:
        await recoveries.record(db, recovery_id, announced)
    await world.message(recovery_id)
    await world.happen("invoice.payment_succeeded", PAID)
    assert (await world.recovery())["state"] == "waiting"
    assert await world.tasks() == [("dunning_retry", "pending", True)]


async def test_a_paid_invoice_that_does_not_say_how_silences_its_messages_and_is_read_at_once(world: World) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await queue_message(world, recovery_id)
    await world.message(recovery_id)
    await world.happen("invoice.paid", PAID)
    assert (await world.recovery())["state"] == "waiting"
    assert await world.tasks() == [("dunning_retry", "pending", True), ("notify_action_required", "canceled", False)]
    await world.happen("invoice.paid", PAID)
    assert await world.story() == ["renewal_failed", "paid_somehow"]
    await world.happen("invoice.payment_succeeded", PAID)
    assert (await world.recovery())["state"] == "recovered"


@pytest.mark.parametrize("kind", ["invoice.paid", "invoice.payment_succeeded"])
async def test_a_payment_while_an_attempt_is_in_flight_is_only_noted(world: World, kind: str) -> None:
    recovery_id = await world.fail()
    await world.move(recovery_id, RecoveryState.ATTEMPTING)
    await world.message(recovery_id)
    await world.happen(kind, PAID)
    recovery = await world.recovery()
    assert (recovery["state"], recovery["stop_requested"]) == ("attempting", "paid_elsewhere")
    assert recovery["closed_at"] is None
    assert tuple((await world.rows(TOTALS))[0]) == (0, 0, 0)


async def test_two_event_ids_about_one_payment_book_it_once(world: World) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await world.message(recovery_id)
    for kind in ("invoice.payment_succeeded", "invoice.paid", "invoice.payment_succeeded"):
        await world.happen(kind, PAID)
    assert await world.story() == ["renewal_failed", "paid_after_message"]
    assert tuple((await world.rows(TOTALS))[0]) == (2000, 0, 0)


async def test_a_failure_that_comes_after_its_payment_is_left_to_the_first_reading_of_the_invoice(
    world: World,
) -> None:
    paid = await world.happen("invoice.payment_succeeded", PAID)
    assert await world.outcome(paid) == "routed"
    await world.fail()
    assert (await world.recovery())["state"] == "open"
    assert await world.tasks() == [("dunning_retry", "pending", True)]


# -- stopped ----------------------------------------------------------------------------------------------------------

STOPS = [
    ("invoice.voided", invoice(), "voided"),
    ("invoice.marked_uncollectible", invoice(), "marked_uncollectible"),
    ("invoice.voided", invoice_of_2014(), "voided"),
    ("customer.subscription.deleted", {"id": "sub_1", "customer": "cus_1"}, "subscription_canceled"),
    ("customer.deleted", {"id": "cus_1"}, "customer_deleted"),
    ("charge.refunded", {"id": "ch_9", "invoice": "in_1"}, "refunded"),
    ("charge.refunded", {"id": "ch_1", "payment_intent": None}, "refunded"),
    ("charge.refunded", {"id": "ch_9", "payment_intent": "pi_1"}, "refunded"),
    ("charge.dispute.created", {"id": "dp_1", "charge": "ch_1", "payment_intent": None}, "disputed"),
    ("charge.dispute.created", {"id": "dp_1", "charge": {"id": "ch_9", "invoice": "in_1"}}, "disputed"),
    ("account.application.deauthorized", {"id": "ca_1"}, "merchant_gone"),
]


async def two_recoveries(world: World) -> RecoveryId:
    """One that the events above are about, and another customer's, which they are not."""
    recovery_id = await world.fail()
    await world.execute(ATTEMPTED, recovery_id, world.merchant_id)
    await world.fail("in_2", customer="cus_2", parent={"subscription_details": {"subscription": "sub_2"}})
    return recovery_id


@pytest.mark.parametrize(("kind", "resource", "reason"), STOPS)
async def test_a_stop_ends_the_recovery_at_once_and_no_other(
    world: World, kind: str, resource: dict[str, Any], reason: str
) -> None:
    recovery_id = await two_recoveries(world)
    await world.wait(recovery_id)
    await queue_message(world, recovery_id)
    await world.happen(kind, resource)
    recovery = await world.recovery()
    assert (recovery["state"], recovery["end_reason"]) == ("stopped", reason)
    assert {status for _, status, _ in await world.tasks()} == {"canceled"}
    assert await world.story() == ["renewal_failed", reason]
    assert (await world.recovery("in_2"))["state"] == ("stopped" if reason == "merchant_gone" else "open")


@pytest.mark.parametrize("state", ["open", "action_required", "needs_new_method"])
async def test_a_stop_ends_a_recovery_wherever_it_is(world: World, state: str) -> None:
    recovery_id = await world.fail()
    if state != "open":
        await world.wait(recovery_id, RecoveryState(state))
    await world.happen("invoice.voided", invoice())
    assert (await world.recovery())["state"] == "stopped"


@pytest.mark.parametrize(("kind", "resource", "reason"), STOPS)
async def test_a_stop_while_an_attempt_is_in_flight_is_noted_and_cancels_what_would_follow(
    world: World, kind: str, resource: dict[str, Any], reason: str
) -> None:
    recovery_id = await two_recoveries(world)
    await world.move(recovery_id, RecoveryState.ATTEMPTING)
    await queue_message(world, recovery_id)
    await world.happen(kind, resource)
    recovery = await world.recovery()
    assert (recovery["state"], recovery["stop_requested"]) == ("attempting", reason)
    # No message follows. One run, due now, is left to learn what became of the attempt (the janitor queues it for a
    # merchant that is gone, whose tasks were all canceled).
    left = [(type_, due) for type_, status, due in await world.tasks() if status != "canceled"]
    assert left == ([] if reason == "merchant_gone" else [("dunning_retry", True)])
    (last,) = await world.rows(
        "SELECT kind FROM recovery_timeline WHERE rule = $1 AND recovery_id = $2", reason, recovery_id
    )
    assert last["kind"] == "stop_requested"


async def test_a_stop_that_comes_under_a_second_event_id_changes_nothing(world: World) -> None:
    await world.fail()
    await world.happen("customer.subscription.deleted", {"id": "sub_1"})
    await world.happen("customer.subscription.deleted", {"id": "sub_1"})
    await world.happen("invoice.voided", invoice())
    assert await world.story() == ["renewal_failed", "subscription_canceled"]
    assert tuple((await world.rows(TOTALS))[0]) == (0, 2000, 1)


async def test_a_stop_says_in_the_timeline_which_event_it_was(world: World) -> None:
    await world.fail()
    event_id = await world.happen("invoice.voided", invoice())
    (row,) = await world.rows("SELECT detail FROM recovery_timeline WHERE rule = 'voided'")
    origin = {"event_id": event_id, "event_type": "invoice.voided", "object_id": "in_1"}
    reason = row["detail"].pop("reason")
    assert row["detail"] == reason["inputs"] == origin
    assert [road["action"] for road in reason["considered"]] == ["attempt_now", "message"]


# -- the merchant is gone ---------------------------------------------------------------------------------------------


async def test_a_deauthorization_ends_all_work_and_wipes_the_tokens(world: World) -> None:
    waiting, attempting = await world.fail("in_1"), await world.fail("in_2", currency="eur")
    await world.wait(waiting)
    await world.move(attempting, RecoveryState.ATTEMPTING)
    async with world.database.transaction() as db:
        key = f"send_weekly_digest:{world.merchant_id}"
        await tasks.enqueue(db, tasks.NewTask(world.merchant_id, "send_weekly_digest", unique_key=key))
        await tasks.enqueue(db, tasks.NewTask(MerchantId("another merchant"), "send_weekly_digest"))
    await world.happen("account.application.deauthorized", {"id": "ca_1"})
    (merchant,) = await world.rows("SELECT * FROM merchants")
    assert (merchant["status"], merchant["access_token"], merchant["refresh_token"]) == ("deauthorized", None, None)
    assert merchant["disconnected_at"] is not None
    assert (await world.recovery("in_1"))["state"] == "stopped"
    in_flight = await world.recovery("in_2")
    assert (in_flight["state"], in_flight["stop_requested"]) == ("attempting", "merchant_gone")
    rows = await world.rows("SELECT merchant_id FROM scheduled_tasks WHERE status = 'pending'")
    assert [row["merchant_id"] for row in rows] == ["another merchant"]


async def test_a_deauthorization_from_before_the_merchant_connected_anew_is_left_alone(world: World) -> None:
    recovery_id = await world.fail()
    await world.execute("UPDATE merchants SET connected_at = to_timestamp(1790000000) + interval '1 hour'")
    event_id = await world.happen("account.application.deauthorized", {"id": "ca_1"}, created=1_790_000_000)
    assert await world.outcome(event_id) == "ignored"
    assert await world.value("SELECT access_token FROM merchants") == "sealed-access"
    assert await world.value("SELECT state FROM recoveries WHERE id = $1", recovery_id) == "open"


async def test_a_merchant_that_disconnected_here_stays_disconnected(world: World) -> None:
    await world.execute("UPDATE merchants SET status = 'disconnected', access_token = NULL, refresh_token = NULL")
    await world.happen("account.application.deauthorized", {"id": "ca_1"})
    assert await world.value("SELECT status FROM merchants") == "disconnected"


async def test_a_second_deauthorization_does_not_move_the_time_of_the_first(world: World) -> None:
    await world.happen("account.application.deauthorized", {"id": "ca_1"})
    first = await world.value("SELECT disconnected_at FROM merchants")
    await world.happen("account.application.deauthorized", {"id": "ca_1"})
    assert await world.value("SELECT disconnected_at FROM merchants") == first


# -- a card changed ---------------------------------------------------------------------------------------------------

CARDS: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("payment_method.attached", {"id": "pm_1", "customer": "cus_1"}, None),
    ("payment_method.automatically_updated", {"id": "pm_1", "customer": "cus_1"}, {}),
    ("customer.source.created", {"id": "card_1", "customer": "cus_1"}, None),
    ("customer.updated", {"id": "cus_1"}, {"invoice_settings": {"default_payment_method": "pm_0"}}),
    ("customer.subscription.updated", {"id": "sub_1", "customer": "cus_1"}, {"default_payment_method": "pm_0"}),
]


CARD_STATES = [RecoveryState.WAITING, RecoveryState.NEEDS_NEW_METHOD, RecoveryState.ACTION_REQUIRED]


@pytest.mark.parametrize(
    ("card", "state"),
    [*((card, RecoveryState.WAITING) for card in CARDS), *((CARDS[0], state) for state in CARD_STATES[1:])],
)
async def test_a_changed_card_has_the_waiting_recovery_decided_at_once(
    world: World, card: tuple[str, dict[str, Any], dict[str, Any] | None], state: RecoveryState
) -> None:
    kind, resource, previous = card
    await world.wait(await two_recoveries(world), state)
    await world.wait((await world.recovery("in_2"))["id"])
    await world.happen(kind, resource, previous)
    assert (await world.recovery())["state"] == state
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert await world.tasks("in_2") == [("dunning_retry", "pending", False)]
    assert await world.story() == ["renewal_failed", "card_changed"]


async def test_all_events_about_one_card_wake_a_recovery_once(world: World) -> None:
    await world.wait(await world.fail())
    for kind, resource, previous in CARDS:
        await world.happen(kind, resource, previous)
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert await world.story() == ["renewal_failed", "card_changed"]


@pytest.mark.parametrize("left", ["succeeded", "dead"])
async def test_a_recovery_without_a_task_gets_one_when_a_card_changes(world: World, left: str) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id, RecoveryState.NEEDS_NEW_METHOD)
    await world.execute("UPDATE scheduled_tasks SET status = $1", left)
    await world.happen("payment_method.attached", {"id": "pm_1", "customer": "cus_1"})
    assert await world.tasks() == [("dunning_retry", left, False), ("dunning_retry", "pending", True)]
    payload = await world.value("SELECT payload FROM scheduled_tasks WHERE status = 'pending'")
    assert payload == {"invoice_id": "in_1"}


async def test_a_recovery_that_is_being_decided_gets_no_second_task(world: World) -> None:
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await world.execute("UPDATE scheduled_tasks SET run_at = citadel_now()")
    async with world.database.transaction() as db:
        assert len(await tasks.claim(db, "worker", 1, timedelta(minutes=1))) == 1
    await world.happen("payment_method.attached", {"id": "pm_1", "customer": "cus_1"})
    assert [(kind, status) for kind, status, _ in await world.tasks()] == [("dunning_retry", "running")]


@pytest.mark.parametrize("state", [RecoveryState.ATTEMPTING, RecoveryState.OPEN])
async def test_a_changed_card_does_not_disturb_an_attempt_or_a_first_look(world: World, state: RecoveryState) -> None:
    recovery_id = await world.fail()
    if state is RecoveryState.ATTEMPTING:
        await world.move(recovery_id, state)
    await world.happen("payment_method.attached", {"id": "pm_1", "customer": "cus_1"})
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert await world.story() == ["renewal_failed"]


async def test_an_ended_recovery_is_not_woken_by_a_card(world: World) -> None:
    await world.fail()
    await world.happen("invoice.voided", invoice())
    await world.happen("payment_method.attached", {"id": "pm_1", "customer": "cus_1"})
    assert await world.tasks() == [("dunning_retry", "canceled", True)]


# -- an invoice that is to be collected otherwise ----------------------------------------------------------------------

NEXT = {"next_payment_attempt": None}
AT = 1_900_000_000
ISO = "2030-03-17T17:46:40+00:00"


async def _decided(world: World, recovery_id: RecoveryId, **detail: Any) -> None:
    """The invoice was read, and the recovery waits."""
    await world.wait(recovery_id)
    async with world.database.transaction() as db:
        await recoveries.record(db, recovery_id, Entry(EntryKind.DECIDED, "test", "A test decided.", detail))


async def _updated(world: World, previous: dict[str, Any], *, later: int = 0, **fields: Any) -> str:
    """The invoice is updated now, or so many seconds later."""
    created = int((await world.value("SELECT citadel_now()")).timestamp()) + later
    return await world.happen("invoice.updated", invoice(**fields), previous, created=created)


async def test_stripes_new_time_wakes_the_recovery_and_is_noted_once(world: World) -> None:
    await _decided(world, await world.fail())
    first = await _updated(world, NEXT, next_payment_attempt=AT)
    second = await _updated(world, NEXT, next_payment_attempt=AT)  # the same fact under another id
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert await world.story() == ["renewal_failed", "invoice_changed"]
    (told,) = await world.rows("SELECT detail, explanation FROM recovery_timeline WHERE rule = 'invoice_changed'")
    assert told["detail"]["stripe_next_attempt_at"] == ISO
    assert told["detail"]["event_id"] == first
    assert told["explanation"] == "Stripe will try by itself at 2030-03-17 17:46 UTC."
    assert (await world.outcome(first), await world.outcome(second)) == ("routed", "routed")


async def test_stripe_giving_up_wakes_the_recovery(world: World) -> None:
    await _decided(world, await world.fail(), stripe_next_attempt_at=ISO)
    await _updated(world, {"next_payment_attempt": AT}, next_payment_attempt=None)
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    (told,) = await world.rows("SELECT detail FROM recovery_timeline WHERE rule = 'invoice_changed'")
    assert "stripe_next_attempt_at" not in told["detail"]


async def test_a_time_that_the_last_decision_knew_wakes_nobody(world: World) -> None:
    await _decided(world, await world.fail(), stripe_next_attempt_at=ISO)
    for _ in range(3):
        await _updated(world, NEXT, next_payment_attempt=AT)
    assert await world.tasks() == [("dunning_retry", "pending", False)]
    assert await world.story() == ["renewal_failed"]


async def test_an_update_from_before_the_invoice_was_read_wakes_nobody(world: World) -> None:
    await _decided(world, await world.fail())
    await _updated(world, {"amount_remaining": 3000}, later=-90)
    assert await world.tasks() == [("dunning_retry", "pending", False)]
    assert await world.story() == ["renewal_failed"]
    await _updated(world, {"amount_remaining": 3000})
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert await world.story() == ["renewal_failed", "invoice_changed"]


@pytest.mark.parametrize("state", [RecoveryState.NEEDS_NEW_METHOD, RecoveryState.ACTION_REQUIRED])
async def test_another_payment_method_of_the_invoice_wakes_who_waits_for_one(
    world: World, state: RecoveryState
) -> None:
    await world.wait(await world.fail(), state)
    await _updated(world, {"default_payment_method": None}, default_payment_method="pm_new")
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert (await world.recovery())["state"] == state


async def test_what_our_own_attempt_changes_in_the_invoice_wakes_nobody(world: World) -> None:
    await _decided(world, await world.fail())
    for count in range(1, 5):
        await _updated(world, {"attempt_count": count, "attempted": False})
    assert await world.tasks() == [("dunning_retry", "pending", False)]
    assert await world.story() == ["renewal_failed"]


async def test_a_run_at_work_is_told_and_gets_no_second_task(world: World) -> None:
    await _decided(world, await world.fail())
    await world.execute("UPDATE scheduled_tasks SET run_at = citadel_now()")
    async with world.database.transaction() as db:
        assert len(await tasks.claim(db, "worker", 1, timedelta(minutes=1))) == 1
    await _updated(world, NEXT, next_payment_attempt=AT)
    assert [(kind, status) for kind, status, _ in await world.tasks()] == [("dunning_retry", "running")]
    assert await world.story() == ["renewal_failed", "invoice_changed"]


async def test_an_update_before_the_first_look_adds_nothing(world: World) -> None:
    await world.fail()
    await _updated(world, NEXT, next_payment_attempt=AT)
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert await world.story() == ["renewal_failed"]


async def test_a_payment_at_the_time_that_an_update_announced_is_read_before_it_is_counted(world: World) -> None:
    recovery_id = await world.fail()
    await _decided(world, recovery_id)
    await world.message(recovery_id)
    await _updated(world, NEXT, next_payment_attempt=AT)
    await world.happen("invoice.payment_succeeded", PAID)
    assert (await world.recovery())["state"] == "waiting", "whose money it is, the worker reads"


# -- a renewal ahead --------------------------------------------------------------------------------------------------


async def test_a_renewal_ahead_has_its_card_looked_at_once(world: World) -> None:
    for _ in range(3):
        await world.happen("invoice.upcoming", invoice(id=None, billing_reason="upcoming"))
    rows = await world.rows("SELECT task_type, payload, recovery_id FROM scheduled_tasks")
    payload = {"customer_id": "cus_1", "subscription_id": "sub_1"}
    assert [tuple(row) for row in rows] == [("warn_card_expiring", payload, None)]
    assert await world.rows("SELECT FROM recoveries") == []


# -- automatic collection that is turned off before there is a recovery ------------------------------------------------


@pytest.mark.parametrize("first", ["off", "failure"])
async def test_off_and_the_failure_in_two_transactions_at_once_are_both_heard(world: World, first: str) -> None:
    """Whoever comes second waits for the merchant's lock and sees what the first one wrote."""
    said: dict[str, Any] = {"id": new_id(), "account": ACCOUNT}
    off = read_event(
        event_of("invoice.updated", invoice(auto_advance=False), {"auto_advance": True}, **said, created=1_790_000_000)
    )
    failure = read_event(event_of("invoice.payment_failed", invoice(), **{**said, "id": new_id()}))
    before, after = (off, failure) if first == "off" else (failure, off)

    async def later() -> None:
        async with world.database.transaction() as db:
            await take(db, after)

    async with world.database.transaction() as db:
        await take(db, before)
        waiting = asyncio.create_task(later())
        await world.until_someone_waits_for_a_lock()
    await waiting
    assert await world.story() == ["renewal_failed", "collection_turned_off"]


async def test_off_before_the_failure_is_heard_in_one_list_of_missed_events_in_any_order(world: World) -> None:
    off = event_of("invoice.updated", invoice(auto_advance=False), {"auto_advance": True}, id=new_id())
    failure = event_of("invoice.payment_failed", invoice(), id=new_id())
    async with world.database.transaction() as db:
        await take_listed(db, ACCOUNT, [read_event(each, listed_for=ACCOUNT) for each in (off, failure)])
    assert await world.story() == ["renewal_failed", "collection_turned_off"]


async def test_each_invoice_has_its_own_and_on_again_forgets_it(world: World) -> None:
    for invoice_id, on_again in (("in_1", True), ("in_2", False), ("in_3", None)):
        if on_again is not None:
            await world.happen("invoice.updated", invoice(id=invoice_id, auto_advance=False), {"auto_advance": True})
        if on_again:
            await world.happen("invoice.updated", invoice(id=invoice_id, auto_advance=True), {"auto_advance": False})
        await world.fail(invoice_id)
    assert [await world.story(each) for each in ("in_1", "in_2", "in_3")] == [
        ["renewal_failed"],
        ["renewal_failed", "collection_turned_off"],
        ["renewal_failed"],
    ]


async def test_a_payment_is_noted_for_what_runs_now_although_nothing_is_queued(world: World) -> None:
    """An evaluation runs, which may have read the invoice before it was paid."""
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await world.execute(RUN)
    await world.happen("invoice.paid", PAID)
    await world.happen("invoice.paid", PAID)
    assert await world.story() == ["renewal_failed", "paid_somehow", "paid_somehow"], "it may run since the first one"
