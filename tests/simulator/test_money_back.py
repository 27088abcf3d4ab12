"""Refunds and disputes, and the bank's book of all money that moved."""

import random
from collections import defaultdict

import pytest
import stripe

from simulator import Simulator, SimulatorClient
from simulator.client import SimulatorError
from simulator.shapes import DAY, Json
from tests.simulator.answers import details


async def _paid(control: SimulatorClient, account: str, **fields: object) -> tuple[Json, str]:
    """A paid renewal and its charge."""
    made = await control.add_renewal(account, **fields)
    await control.advance(5 * DAY)
    return made, (await control.charges())[-1]["charge"]


async def _kinds(control: SimulatorClient, since: int = 0) -> list[str]:
    return [event["type"] for event in (await control.events())[since:]]


async def test_a_refund_of_a_card_is_done_at_once_in_parts_too(control: SimulatorClient, account: str) -> None:
    _, charge = await _paid(control, account)
    first, rest = await control.refund(charge, 500), await control.refund(charge)
    assert [(each["status"], each["amount"]) for each in (first, rest)] == [("succeeded", 500), ("succeeded", 1_500)]
    found = await control.object(charge)
    assert (found["refunded"], found["amount_refunded"]) == (True, 2_000)
    rows = await control.book(charge=charge)
    assert [(row["kind"], row["amount"], row["refund"]) for row in rows[1:]] == [
        ("refund", -500, first["id"]),
        ("refund", -1_500, rest["id"]),
    ]


async def test_a_refund_of_a_debit_is_pending_for_days(control: SimulatorClient, account: str) -> None:
    _, charge = await _paid(control, account, debit={"type": "us_bank_account"})
    refund = await control.refund(charge)
    assert (refund["status"], refund["pending_reason"]) == ("pending", "processing")
    before = len(await control.events())
    await control.advance(5 * DAY)
    assert (await control.object(refund["id"]))["status"] == "succeeded"
    assert await _kinds(control, before) == ["refund.updated", "charge.refund.updated"]


@pytest.mark.parametrize("late", [False, True])
async def test_a_refund_that_fails_gives_the_money_back_to_the_merchant(
    late: bool, control: SimulatorClient, account: str
) -> None:
    made, charge = await _paid(control, account)
    before = len(await control.events())
    if late:
        refund = await control.refund(charge, 700)
        await control.end_refund(refund["id"], fails="lost_or_stolen_card")
    else:
        refund = await control.refund(charge, 700, takes_days=2, fails="lost_or_stolen_card")
        await control.advance(2 * DAY)
    found = await control.object(refund["id"])
    assert (found["status"], found["failure_reason"]) == ("failed", "lost_or_stolen_card")
    assert await _kinds(control, before) == [
        "refund.created",
        "charge.refunded",
        "refund.failed",
        "refund.updated",
        "charge.refund.updated",
    ]
    assert (await control.object(charge))["amount_refunded"] == 0
    rows = await control.book(invoice=made["invoice"]["id"])
    assert [(row["kind"], row["amount"]) for row in rows[1:]] == [("refund", -700), ("refund_failed", 700)]
    assert [row["source"] for row in rows] == ["renewal", "merchant", "bank"]


@pytest.mark.parametrize("ends", ["won", "lost"])
async def test_a_dispute_takes_the_money_and_a_fee_and_only_a_won_one_gives_the_money_back(
    ends: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    _, charge = await _paid(control, account)
    before = len(await control.events())
    dispute = await control.dispute(charge, reason="product_not_received", ends=ends, ends_days=10)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.refunds.create_async({"charge": charge})
    assert details(caught.value)["code"] == "charge_disputed"
    await control.advance(10 * DAY)
    found = (await client.v1.disputes.retrieve_async(dispute["id"])).to_dict()
    assert (found["status"], found["reason"]) == (ends, "product_not_received")
    won = ends == "won"
    assert [each["net"] for each in found["balance_transactions"]] == ([-3_500, 2_000] if won else [-3_500])
    assert await _kinds(control, before) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        *(["charge.dispute.funds_reinstated"] if won else []),
        "charge.dispute.closed",
    ]
    assert sum(row["amount"] for row in await control.book()) == (500 if won else -1_500)
    with pytest.raises(SimulatorError, match="already closed"):
        await control.end_dispute(dispute["id"], "won")


async def test_of_a_refunded_charge_only_the_rest_is_disputed(control: SimulatorClient, account: str) -> None:
    _, charge = await _paid(control, account)
    await control.refund(charge, 600)
    for amount in (0, 1_401):
        with pytest.raises(SimulatorError, match="1400 can be disputed"):
            await control.dispute(charge, amount=amount)
    assert (await control.dispute(charge))["amount"] == 1_400
    with pytest.raises(SimulatorError, match="disputed already"):
        await control.dispute(charge, amount=1)


async def test_the_merchant_can_give_a_dispute_up(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    _, charge = await _paid(control, account)
    dispute = await control.dispute(charge, ends="won", ends_days=1)
    assert (await client.v1.disputes.close_async(dispute["id"])).status == "lost"
    await control.advance(DAY)
    assert (await control.object(dispute["id"]))["status"] == "lost"


async def test_each_row_of_the_book_is_a_balance_transaction_of_stripe(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    _, charge = await _paid(control, account)
    await control.dispute(charge)
    listed = (await client.v1.balance_transactions.list_async()).data
    assert [(each.type, each.amount, each.fee) for each in listed] == [
        ("adjustment", -2_000, 1_500),
        ("charge", 2_000, 0),
    ]
    rows = await control.book()
    assert [row["transaction"] for row in rows] == [listed[1].id, listed[0].id, listed[0].id]
    expanded = await client.v1.charges.retrieve_async(charge, {"expand": ["balance_transaction"]})
    assert expanded.to_dict()["balance_transaction"]["id"] == listed[1].id


@pytest.mark.parametrize("seed", range(6))
async def test_after_any_story_the_book_agrees_with_every_object(
    seed: int, simulation: Simulator, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    """Random actions on random invoices; then each charge, refund, dispute and invoice is held against the book."""
    await control.change_account(account, stripe_retries=[2, 4])
    rng = random.Random(seed)  # noqa: S311 - a story, not a secret
    for _ in range(60):
        try:
            await _act(rng, control, client, account)
        except (SimulatorError, stripe.CardError, stripe.InvalidRequestError):
            continue  # Refused, as it would be at Stripe; what it must not do is leave a trace in the book.
        finally:
            await control.advance(rng.choice((0, 0, DAY, 3 * DAY)))
    rows = await control.book()
    assert {"charge", "refund", "dispute_withdrawn", "fee"} <= {row["kind"] for row in rows}
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    _compare_charges(simulation, rows)
    _compare_invoices(simulation, rows)


async def _act(rng: random.Random, control: SimulatorClient, client: stripe.StripeClient, account: str) -> None:
    invoices = [each.id for each in (await client.v1.invoices.list_async({"limit": 100})).data]
    charges = [each.id for each in (await client.v1.charges.list_async({"limit": 100})).data]
    invoice, charge = rng.choice(invoices or ["in_none"]), rng.choice(charges or ["ch_none"])
    debit = {"type": "us_bank_account", "fails": rng.choice((None, None, "no_account")), "clears_after": 1}
    match rng.randrange(10):
        case 0 | 1:
            card = {"decline": rng.choice((None, "do_not_honor")), "clears_after": 1}
            await control.add_renewal(account, card=card, balance=rng.choice((0, 0, -700)))
        case 2:
            returns = rng.choice((None, "insufficient_funds"))
            await control.add_renewal(account, debit={**debit, "returns": returns})
        case 3:
            await client.v1.invoices.pay_async(invoice)
        case 4:
            await control.pay_hosted(invoice, **({} if rng.random() < 0.5 else {"debit": debit}))
        case 5:
            await control.attach_payment(invoice, rng.randrange(50, 2_500))
        case 6:
            amount = rng.randrange(1, 1_500)
            await control.credit_note(invoice, amount, **rng.choice(({}, {"refund_amount": amount})))
        case 7:
            await control.refund(charge, rng.choice((None, 300)), fails=rng.choice((None, "declined")))
        case 8:
            await control.dispute(charge, ends=rng.choice((None, "won", "lost")), ends_days=3)
        case _:
            await client.v1.invoices.void_invoice_async(invoice)


def _compare_charges(simulation: Simulator, rows: list[Json]) -> None:
    booked: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        booked[row["kind"], row["charge"]] += row["amount"]
    disputes = [each for _, each in simulation.world.everywhere("dispute")]
    seen = set()
    for _, charge in simulation.world.everywhere("charge"):
        of_charge = [each for each in disputes if each["charge"] == charge["id"]]
        taken = sum(each["amount"] for each in of_charge)
        won = sum(each["amount"] for each in of_charge if each["status"] == "won")
        debit_failed = charge["status"] == "failed" and charge["payment_method_details"]["type"] != "card"
        expected = {
            "charge": charge["amount"] if charge["status"] == "succeeded" else 0,
            "dispute_withdrawn": -taken,
            "dispute_reinstated": won,
            "fee": -1_500 * len(of_charge) - (400 if debit_failed else 0),
        }
        assert {kind: booked[kind, charge["id"]] for kind in expected} == expected
        back = booked["refund", charge["id"]] + booked["refund_failed", charge["id"]]
        assert back == -charge["amount_refunded"]
        seen.add(charge["id"])
    assert {row["charge"] for row in rows} <= seen


def _compare_invoices(simulation: Simulator, rows: list[Json]) -> None:
    taken: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        if row["kind"] == "charge":
            taken[row["invoice"]] += row["amount"]
    for _, invoice in simulation.world.everywhere("invoice"):
        on_stripe = invoice["amount_paid"] + invoice["amount_overpaid"] - invoice["amount_paid_off_stripe"]
        assert taken[invoice["id"]] == on_stripe
        assert invoice["amount_remaining"] == invoice["amount_due"] - invoice["amount_paid"]
        assert (invoice["amount_remaining"] == 0) == (invoice["status"] == "paid") or invoice["status"] == "void"
    moved = [each for each in simulation.world.attempts if each.outcome == "succeeded"]
    assert [(each.charge, each.source) for each in moved] == [
        (row["charge"], row["source"]) for row in rows if row["kind"] == "charge"
    ]
