"""Refunds and disputes of recovered money: the book has them once, by charge, whatever the order of the events."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared import recoveries
from shared.database import Role
from shared.events.incoming import read_event
from shared.events.taking import take, take_listed
from shared.ids import ChargeId
from shared.recovery_model import Entry, EntryKind
from simulator.client import SimulatorError
from tests.conftest import OpenDatabase
from tests.integration.worker.charges import (
    bank,
    book_charge,
    booked_back,
    deliver,
    forget_charge,
    recovered,
    told,
    totals,
)
from tests.integration.worker.world import World

Event = dict[str, Any]


def twin(event: Event, number: int) -> Event:
    """The same fact under another event id."""
    return {**event, "id": f"{event['id']}_{number}"}


# -- the simplest stories ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kinds", [("charge.refunded",), ("refund.created",), ("refund.updated",), ("charge.", "refund")]
)
async def test_a_refund_lowers_what_was_recovered_by_whatever_event_it_is_told(
    world: World, open_database: OpenDatabase, kinds: tuple[str, ...]
) -> None:
    failed, charge = await recovered(world)
    refund = await world.control.refund(charge, 1_200, takes_days=1)
    await world.control.end_refund(refund["id"])
    await deliver(open_database, [each for each in await told(world, charge) if each["type"].startswith(kinds)])
    assert await booked_back(failed) == {"refunded": 1_200, "disputed": 0, "won_back": 0}
    assert (await totals(world))["recovered_cents"] == 3_000
    row = await failed.recovery()
    assert (row["state"], row["end_reason"], row["amount_recovered"]) == ("recovered", "paid_by_retry", 4_200)
    (entry,) = await failed.story("refunded")
    assert (entry["detail"]["amount"], entry["detail"]["charge_id"]) == (1_200, charge)


async def test_a_refund_that_fails_gives_the_money_back_to_the_book(world: World, open_database: OpenDatabase) -> None:
    failed, charge = await recovered(world)
    refund = await world.control.refund(charge)
    await deliver(open_database, await told(world, charge))
    assert (await totals(world))["recovered_cents"] == 0
    await world.pass_time(days=2)
    await world.control.end_refund(refund["id"], fails="lost_or_stolen_card")
    await deliver(open_database, await told(world, charge))
    assert await totals(world) == {
        "recovered_cents": 4_200,
        "recovered_count": 1,
        "refunded_cents": 0,
        "disputed_cents": 0,
        "won_back_cents": 0,
    }
    assert [each["kind"] for each in await failed.story("refunded", "refund_failed")] == ["refunded", "refund_failed"]
    rows = await world.rows("SELECT amount, external_id FROM usage_logs WHERE metric_type = 'refunded' ORDER BY id")
    assert [tuple(row) for row in rows] == [(4_200, refund["id"]), (-4_200, refund["id"])]


@pytest.mark.parametrize(("ends", "left"), [(None, 0), ("lost", 0), ("won", 4_200)])
async def test_a_dispute_takes_the_money_and_only_a_won_one_gives_it_back(
    world: World, open_database: OpenDatabase, ends: str | None, left: int
) -> None:
    failed, charge = await recovered(world)
    dispute = await world.control.dispute(charge)
    if ends is not None:
        await world.control.end_dispute(dispute["id"], ends)
    await deliver(open_database, await told(world, charge))
    assert await booked_back(failed) == await bank(world, charge)
    assert (await totals(world))["recovered_cents"] == left
    kinds = [each["kind"] for each in await failed.story("disputed", "dispute_won")]
    assert kinds == (["disputed", "dispute_won"] if ends == "won" else ["disputed"])


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed"])
async def test_an_inquiry_moves_no_money(world: World, open_database: OpenDatabase, status: str) -> None:
    failed, charge = await recovered(world)
    await world.control.dispute(charge)
    created = (await told(world, charge))[0]
    created["data"]["object"] |= {"status": status, "balance_transactions": []}
    await deliver(open_database, [created])
    assert (await totals(world))["recovered_cents"] == 4_200
    assert (await failed.recovery())["state"] == "recovered"


# -- whose charge it is -----------------------------------------------------------------------------------------------


async def test_a_refund_that_comes_before_its_charge_is_booked_is_booked_with_it(
    world: World, open_database: OpenDatabase
) -> None:
    failed, charge = await recovered(world)
    await forget_charge(world, failed)
    refund = await world.control.refund(charge, 700)
    dispute = await world.control.dispute(charge, amount=300)
    await world.control.end_dispute(dispute["id"], "won")
    await deliver(open_database, await told(world, charge))
    assert await booked_back(failed) == dict.fromkeys(("refunded", "disputed", "won_back"), 0)
    await book_charge(world, failed, charge)
    assert await booked_back(failed) == {"refunded": 700, "disputed": 300, "won_back": 300}
    rows = await world.rows("SELECT external_id FROM usage_logs WHERE external_id IS NOT NULL ORDER BY id")
    assert {row["external_id"] for row in rows} == {refund["id"], dispute["id"]}
    await deliver(open_database, [twin(each, 1) for each in await told(world, charge)])
    assert await booked_back(failed) == {"refunded": 700, "disputed": 300, "won_back": 300}


@pytest.mark.parametrize("read_first", [False, True])
async def test_money_that_came_after_a_message_is_taken_back_too(
    world: World, open_database: OpenDatabase, read_first: bool
) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=9)
    await world.work()  # the message
    await world.control.pay_hosted(failed.invoice)
    (charge,) = [each["charge"] for each in await failed.charges()]
    found = [orjson.loads(each.body) for each in world.simulation.world.events.values()]
    await deliver(open_database, [each for each in found if each["type"] == "invoice.payment_succeeded"])
    if read_first:
        await world.work()
    await world.control.refund(charge, 1_000)
    await deliver(open_database, await told(world, charge))
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["recovered_by"], row["amount_recovered"]) == ("recovered", "message", 4_200)
    assert await booked_back(failed) == {"refunded": 1_000, "disputed": 0, "won_back": 0}
    assert (await totals(world))["recovered_cents"] == 3_200


async def test_of_a_charge_that_has_failed_after_all_nothing_is_taken_back(
    world: World, open_database: OpenDatabase
) -> None:
    failed, charge = await recovered(world)
    await world.control.dispute(charge)
    await deliver(open_database, await told(world, charge))
    async with world.worker.transaction() as db:
        entry = Entry(EntryKind.CHANGED, "test", "The charge failed after it had succeeded.")
        await recoveries.correct(db, failed.recovery_id, [], [ChargeId(charge)], entry)
    assert await totals(world) == {
        "recovered_cents": 0,
        "recovered_count": 0,
        "refunded_cents": 0,
        "disputed_cents": 0,
        "won_back_cents": 0,
    }


async def test_a_refund_and_the_booking_of_its_charge_at_once_lose_nothing(
    world: World, open_database: OpenDatabase
) -> None:
    failed, charge = await recovered(world)
    await forget_charge(world, failed)
    await world.control.refund(charge, 700)
    (event,) = [each for each in await told(world, charge) if each["type"] == "charge.refunded"]
    async with open_database(Role.INGRESS) as ingress, ingress.transaction() as db:
        await take(db, read_event(event))  # not committed yet: the booking cannot see it, and waits
        booking = asyncio.create_task(book_charge(world, failed, charge))
        await world.until_someone_waits_for_a_lock()
    await booking
    assert await booked_back(failed) == {"refunded": 700, "disputed": 0, "won_back": 0}


async def test_a_refund_of_money_that_is_not_ours_is_not_booked(world: World, open_database: OpenDatabase) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=9)
    await world.control.pay_hosted(failed.invoice)  # before any message of ours
    row = await failed.finish()
    assert row["end_reason"] == "paid_elsewhere"
    (charge,) = [each["charge"] for each in await failed.charges()]
    before = await failed.story()
    await world.control.refund(charge)
    await world.control.end_refund((await told(world, charge))[0]["data"]["object"]["id"])
    await deliver(open_database, await told(world, charge))
    assert await booked_back(failed) == dict.fromkeys(("refunded", "disputed", "won_back"), 0)
    assert (await totals(world))["recovered_cents"] == 0
    assert await failed.story() == before
    assert (await failed.recovery())["end_reason"] == "paid_elsewhere"


async def test_a_refund_that_names_no_charge_is_found_by_its_payment(world: World, open_database: OpenDatabase) -> None:
    _, charge = await recovered(world)
    await world.control.refund(charge, 900)
    (event,) = [each for each in await told(world, charge) if each["type"] == "refund.created"]
    event["data"]["object"]["charge"] = None
    await deliver(open_database, [event])
    assert (await totals(world))["recovered_cents"] == 3_300


async def test_no_more_is_taken_back_than_was_booked_of_the_charge(world: World, open_database: OpenDatabase) -> None:
    failed, charge = await recovered(world)
    await world.execute("UPDATE recovered_charges SET amount = 1000")  # the charge covered more than the recovery
    for amount in (600, 600, 3_000):
        await world.control.refund(charge, amount)
    await deliver(open_database, await told(world, charge))
    assert await booked_back(failed) == {"refunded": 1_000, "disputed": 0, "won_back": 0}


async def test_an_open_recovery_is_stopped_and_an_ended_one_is_not(world: World, open_database: OpenDatabase) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=9)
    await world.work()
    (seen,) = await failed.theirs()
    fields = {"object": "refund", "amount": 4_200, "currency": "usd", "charge": seen["charge_id"], "created": 1}
    event = {"type": "refund.created", "account": world.account, "created": 1_790_000_000}
    resource = {"id": "re_1", "status": "succeeded", "payment_intent": None, **fields}
    failing = {**resource, "status": "failed"}
    await deliver(open_database, [{**event, "id": "evt_1", "type": "refund.failed", "data": {"object": failing}}])
    assert (await failed.recovery())["state"] == "waiting"
    await deliver(open_database, [{**event, "id": "evt_2", "data": {"object": {**resource, "id": "re_2"}}}])
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "refunded")
    await deliver(open_database, [{**event, "id": "evt_3", "data": {"object": {**resource, "id": "re_3"}}}])
    assert await failed.recovery() == row


# -- any order --------------------------------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["refund", "refund", "fail", "dispute", "win", "lose"]),
        st.integers(1, 1_500),
        st.sampled_from([0, 0, 1, 3]),
    ),
    min_size=1,
    max_size=7,
)


async def play(world: World, charge: str, actions: Sequence[tuple[str, int, int]], *, failing: bool) -> None:
    """Do to the charge whatever of this Stripe allows."""
    refunds: list[str] = []
    disputes: list[str] = []
    for what, amount, days in actions:
        try:
            if what == "refund":
                refunds.append((await world.control.refund(charge, amount))["id"])
            elif what == "fail" and refunds and failing:
                await world.control.end_refund(refunds.pop(), fails="declined")
            elif what == "dispute":
                disputes.append((await world.control.dispute(charge, amount=amount))["id"])
            elif what in {"win", "lose"} and disputes:
                await world.control.end_dispute(disputes.pop(), "won" if what == "win" else "lost")
        except SimulatorError:
            continue  # refused, as it would be at Stripe
        await world.control.advance(days * 86_400)


# Without shrinking: an example takes a second, and its story is short.
@settings(
    max_examples=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    actions=ACTIONS,
    chance=st.randoms(use_true_random=False),
    told_by=st.sampled_from(["everything", "charges", "refunds"]),
    listed=st.booleans(),
)
async def test_the_book_is_the_banks_whatever_was_told_in_whatever_order(
    world: World,
    open_database: OpenDatabase,
    actions: list[tuple[str, int, int]],
    chance: random.Random,
    told_by: str,
    listed: bool,
) -> None:
    # The world goes on from one example to the next; each has a customer of its own.
    before = (await totals(world))["recovered_cents"]
    failed, charge = await recovered(world)
    await forget_charge(world, failed)
    # Old endpoints are sent no events of refunds: that one failed, nobody tells them.
    await play(world, charge, actions, failing=told_by != "charges")
    left_out = {"charges": ("refund.", "charge.refund."), "refunds": ("charge.refunded",), "everything": ()}[told_by]
    events = [each for each in await told(world, charge) if not each["type"].startswith(left_out or "nothing")]
    events += chance.sample(events, len(events) // 2)
    events += [twin(each, number) for number, each in enumerate(chance.sample(events, len(events) // 3))]
    chance.shuffle(events)
    early = chance.randint(0, len(events))
    await deliver(open_database, events[:early])
    await book_charge(world, failed, charge)
    if listed:
        async with world.worker.transaction() as db:
            given_events = [read_event(each, listed_for=world.account) for each in events[early:]]
            await take_listed(db, world.account, given_events)
    else:
        await deliver(open_database, events[early:])
    assert await booked_back(failed) == await bank(world, charge)
    moved = [row["amount"] for row in await world.control.book(charge=charge) if row["kind"] != "fee"]
    assert (await totals(world))["recovered_cents"] - before == sum(moved)


async def test_many_events_at_once_are_booked_once(world: World, open_database: OpenDatabase) -> None:
    failed, charge = await recovered(world)
    for _ in range(3):
        await world.control.refund(charge, 500)
    await world.control.dispute(charge)
    events = await told(world, charge)
    async with open_database(Role.INGRESS) as ingress:

        async def once(event: Event) -> None:
            await ingress.committed(lambda db: take(db, read_event(event)))

        await asyncio.gather(*(once(twin(event, number)) for event in events for number in range(2)))
    assert await booked_back(failed) == await bank(world, charge)
    assert (await totals(world))["recovered_cents"] == 0
