"""Invoices that are paid in parts, lowered by credit notes, or due in another amount than their total."""

import orjson
import pytest
import stripe

from simulator import Simulator, SimulatorClient
from simulator.client import SimulatorError
from simulator.currencies import MINIMUM_CHARGE, THREE_DECIMAL, ZERO_DECIMAL, decimals, minimum, written
from simulator.shapes import DAY, Json
from tests.simulator.answers import details
from tests.simulator.conftest import MakeStripe

DECLINED: Json = {"decline": "do_not_honor", "clears_after": 1}


def _amounts(invoice: Json) -> tuple[str, int, int, int]:
    return invoice["status"], invoice["amount_due"], invoice["amount_paid"], invoice["amount_remaining"]


async def _kinds(control: SimulatorClient, since: int = 0) -> list[str]:
    return [event["type"] for event in (await control.events())[since:]]


def _intent_of(payment: Json) -> str:
    ident: str = payment["payment"]["payment_intent"]
    return ident


# -- parts ---------------------------------------------------------------------------------------


async def test_a_part_leaves_the_invoice_open_and_our_attempt_charges_the_rest(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card=DECLINED, amount=4_200)
    invoice, before = made["invoice"]["id"], len(await control.events())
    payment = await control.attach_payment(invoice, 3_000)
    assert (payment["status"], payment["amount_paid"], payment["is_default"]) == ("paid", 3_000, False)
    assert _amounts(await control.object(invoice)) == ("open", 4_200, 3_000, 1_200)
    assert await _kinds(control, before) == [
        "payment_method.attached",
        "charge.succeeded",
        "invoice_payment.paid",
        "invoice.updated",
        "payment_intent.succeeded",
    ]
    assert (await control.object(made["payment_intent"]["id"]))["amount"] == 1_200
    assert (await client.v1.invoices.pay_async(invoice)).status == "paid"
    assert _amounts(await control.object(invoice)) == ("paid", 4_200, 4_200, 0)
    payments = (await client.v1.invoice_payments.list_async({"invoice": invoice})).data
    assert sorted((each.amount_paid or 0, each.is_default) for each in payments) == [(1_200, True), (3_000, False)]
    assert [(row["source"], row["amount"]) for row in await control.book(invoice=invoice)] == [
        ("merchant", 3_000),
        ("api_pay", 1_200),
    ]
    assert (await control.summary())["double_charged"] == []


async def test_a_part_paid_before_the_failure_is_in_the_failed_event(
    simulation: Simulator, control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(account, card=DECLINED, amount=4_200, paid_before=3_000)
    assert _amounts(made["invoice"]) == ("open", 4_200, 3_000, 1_200)
    (failed,) = [event for event in simulation.world.events.values() if event.type == "invoice.payment_failed"]
    assert orjson.loads(failed.body)["data"]["object"]["amount_remaining"] == 1_200
    assert [entry["amount"] for entry in await control.attempts(made["invoice"]["id"])] == [3_000, 1_200]


async def test_the_parts_can_pay_all_of_it_and_the_default_payment_ends(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    await control.attach_payment(made["invoice"]["id"], 500)
    await control.attach_payment(made["invoice"]["id"], 1_500)
    assert _amounts(await control.object(made["invoice"]["id"])) == ("paid", 2_000, 2_000, 0)
    assert (await control.object(made["payment_intent"]["id"]))["status"] == "canceled"
    assert (await control.object(made["subscription"]["id"]))["status"] == "active"


async def test_what_is_paid_too_much_is_credited_to_the_customer(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    before = len(await control.events())
    await control.attach_payment(made["invoice"]["id"], 2_700)
    invoice = await control.object(made["invoice"]["id"])
    assert (*_amounts(invoice), invoice["amount_overpaid"]) == ("paid", 2_000, 2_000, 0, 700)
    assert (await control.object(made["customer"]["id"]))["balance"] == -700
    assert "invoice.overpaid" in await _kinds(control, before)
    assert (await control.summary())["double_charged"] == [invoice["id"]]


async def test_a_declined_part_says_nothing_about_the_invoice(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    before, invoice = len(await control.events()), await control.object(made["invoice"]["id"])
    payment = await control.attach_payment(invoice["id"], 500, card={"decline": "lost_card"})
    assert payment["status"] == "open"
    assert await _kinds(control, before + 1) == ["charge.failed", "payment_intent.payment_failed"]
    assert await control.object(invoice["id"]) == invoice


@pytest.mark.parametrize("fails", [None, "insufficient_funds"])
async def test_a_part_by_debit_is_under_way_too(fails: str | None, control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    invoice = made["invoice"]["id"]
    await control.attach_payment(invoice, 500, debit={"type": "us_bank_account", "fails": fails})
    for refused in (control.attach_payment(invoice, 500), control.credit_note(invoice, 100)):
        with pytest.raises(SimulatorError, match="processing"):
            await refused
    failures = (await _kinds(control)).count("invoice.payment_failed")
    await control.advance(4 * DAY)
    assert (await control.object(invoice))["amount_remaining"] == (1_500 if fails is None else 2_000)
    assert (await _kinds(control)).count("invoice.payment_failed") == failures


@pytest.mark.parametrize(("decline", "charged"), [("lost_card", True), ("blocked", False)])
async def test_a_declined_part_leaves_its_payment_as_a_declined_whole_does(
    decline: str, charged: bool, control: SimulatorClient, account: str
) -> None:
    whole = await control.add_renewal(account, card={"decline": decline})
    part = await control.attach_payment(whole["invoice"]["id"], 500, card={"decline": decline})
    intents = [await control.object(ident) for ident in (whole["payment_intent"]["id"], _intent_of(part))]
    assert [bool(intent["latest_charge"]) for intent in intents] == [charged, charged]
    of_whole, of_part = (intent["last_payment_error"] for intent in intents)
    of_each = {"charge", "payment_method"}
    assert {**of_part, **dict.fromkeys(of_each)} == {**of_whole, **dict.fromkeys(of_each)}
    assert of_part.get("charge") == intents[1]["latest_charge"]


async def test_a_part_is_refused_where_a_whole_would_be(control: SimulatorClient, account: str) -> None:
    made, other = await control.add_renewal(account, card=DECLINED), await control.add_renewal(account)
    with pytest.raises(SimulatorError, match="not attached to the invoice's customer"):
        await control.attach_payment(made["invoice"]["id"], 500, payment_method=other["payment_method"]["id"])
    await control.restrict(account)
    with pytest.raises(SimulatorError, match="cannot currently make charges"):
        await control.attach_payment(made["invoice"]["id"], 500)
    assert [row["invoice"] for row in await control.book()] == [other["invoice"]["id"]]


async def test_a_debit_that_pays_too_much_ends_after_its_customer_was_deleted(
    control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    invoice = made["invoice"]["id"]
    await control.attach_payment(invoice, 2_700, debit={"type": "us_bank_account"})
    await control.delete_customer(made["customer"]["id"])
    before = len(await control.events())
    await control.advance(6 * DAY)
    assert (await control.object(invoice))["amount_overpaid"] == 700
    assert {"invoice.overpaid", "payment_intent.succeeded"} <= set(await _kinds(control, before))


async def test_a_debit_that_fails_when_collection_is_off_ends_no_retries(
    control: SimulatorClient, account: str
) -> None:
    await control.change_account(account, stripe_retries=[3], after_retries="cancel")
    made = await control.add_renewal(account, debit={"type": "us_bank_account", "fails": "insufficient_funds"})
    await control.set_auto_advance(made["invoice"]["id"], False)
    await control.advance(5 * DAY)
    assert (await control.object(made["subscription"]["id"]))["status"] == "past_due"


async def test_stripes_own_retry_is_left_out_while_a_part_is_under_way(control: SimulatorClient, account: str) -> None:
    await control.change_account(account, stripe_retries=[3])
    made = await control.add_renewal(account, card=DECLINED)
    await control.attach_payment(made["invoice"]["id"], 500, debit={"type": "us_bank_account"})
    await control.advance(4 * DAY)
    sources = [entry["source"] for entry in await control.attempts(made["invoice"]["id"])]
    assert sources == ["renewal", "merchant", "merchant"]
    assert (await control.object(made["invoice"]["id"]))["next_payment_attempt"] is None


async def test_paid_out_of_band_counts_the_rest_as_paid_off_stripe(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    await control.attach_payment(made["invoice"]["id"], 500)
    paid = (await client.v1.invoices.pay_async(made["invoice"]["id"], {"paid_out_of_band": True})).to_dict()
    assert (*_amounts(paid), paid["amount_paid_off_stripe"]) == ("paid", 2_000, 2_000, 0, 1_500)
    assert sum(row["amount"] for row in await control.book()) == 500


async def test_stripe_asks_for_an_attempt_that_it_cannot_make(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    event = await control.require_attempt(made["invoice"]["id"])
    (found,) = await control.events(type="invoice.payment_attempt_required")
    assert found["id"] == event


# -- credit notes --------------------------------------------------------------------------------


async def test_a_credit_note_lowers_what_is_due_and_our_attempt_charges_the_rest(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card=DECLINED, amount=4_200)
    before = len(await control.events())
    note = await control.credit_note(made["invoice"]["id"], 3_000)
    assert (note["type"], note["pre_payment_amount"], note["post_payment_amount"]) == ("pre_payment", 3_000, 0)
    assert await _kinds(control, before) == ["credit_note.created", "invoice.updated"]
    paid = (await client.v1.invoices.pay_async(made["invoice"]["id"])).to_dict()
    assert _amounts(paid) == ("paid", 1_200, 1_200, 0)
    assert (paid["total"], paid["pre_payment_credit_notes_amount"]) == (4_200, 3_000)
    assert [row["amount"] for row in await control.book()] == [1_200]


async def test_a_credit_note_over_all_of_it_pays_the_invoice_without_money(
    control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    before = len(await control.events())
    await control.credit_note(made["invoice"]["id"], 2_000)
    assert _amounts(await control.object(made["invoice"]["id"])) == ("paid", 0, 0, 0)
    assert await _kinds(control, before) == [
        "credit_note.created",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.updated",
    ]
    assert (await control.object(made["payment_intent"]["id"]))["status"] == "canceled"
    assert await control.book() == []


async def test_a_credit_note_after_payment_says_where_its_money_goes(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    invoice = made["invoice"]["id"]
    with pytest.raises(stripe.InvalidRequestError, match="must equal the post payment amount"):
        await client.v1.credit_notes.create_async({"invoice": invoice, "amount": 1_000})
    note = (
        await client.v1.credit_notes.create_async(
            {"invoice": invoice, "amount": 1_000, "refund_amount": 600, "credit_amount": 300, "out_of_band_amount": 100}
        )
    ).to_dict()
    assert (note["type"], note["refunds"][0]["amount_refunded"]) == ("post_payment", 600)
    assert _amounts(await control.object(invoice)) == ("paid", 2_000, 2_000, 0)
    assert (await control.object(made["customer"]["id"]))["balance"] == -300
    assert [(row["kind"], row["amount"]) for row in await control.book()] == [("charge", 2_000), ("refund", -600)]
    with pytest.raises(stripe.InvalidRequestError, match="within the 1000 left"):
        await client.v1.credit_notes.create_async({"invoice": invoice, "amount": 1_001, "credit_amount": 1_001})


async def test_a_credit_note_on_a_part_paid_invoice_can_be_mixed(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    await control.attach_payment(made["invoice"]["id"], 1_500)
    note = await control.credit_note(made["invoice"]["id"], 700, refund_amount=200)
    assert (note["type"], note["pre_payment_amount"], note["post_payment_amount"]) == ("mixed", 500, 200)
    assert _amounts(await control.object(made["invoice"]["id"])) == ("paid", 1_500, 1_500, 0)
    assert sum(row["amount"] for row in await control.book()) == 1_300


async def test_a_credit_note_can_leave_too_little_to_charge(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card=DECLINED)
    await control.credit_note(made["invoice"]["id"], 1_951)
    tries = len(await control.attempts())
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    assert details(caught.value)["code"] == "amount_too_small"
    assert details(caught.value)["message"] == "Amount must be at least 0.50 usd"
    assert len(await control.attempts()) == tries


# -- customers' balances -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "due", "left"),
    [
        (-500, 1_500, 0),  # Credit lowers what is due.
        (500, 2_500, 0),  # What is owed raises it.
        (-2_000, 0, 0),  # Exactly enough credit.
        (-2_900, 0, -900),  # More than enough: the rest stays.
        (-1_951, 0, 49),  # Too little to charge: owed next time.
        (-1_950, 50, 0),  # The least that is charged.
    ],
)
async def test_the_customers_balance_is_applied_when_the_invoice_is_finalized(
    balance: int, due: int, left: int, control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(account, balance=balance)
    invoice = made["invoice"]
    assert (invoice["starting_balance"], invoice["ending_balance"]) == (balance, left)
    assert (invoice["status"], invoice["total"], invoice["amount_due"]) == ("paid", 2_000, due)
    assert (await control.object(made["customer"]["id"]))["balance"] == left
    assert [row["amount"] for row in await control.book()] == ([due] if due else [])
    if due == 0:
        assert made["payment_intent"] is None
        assert await control.attempts() == []
        kinds = await _kinds(control)
        assert kinds.count("invoice.paid") == kinds.count("invoice.payment_succeeded") == 1


async def test_a_balance_that_the_merchant_changes_is_applied_to_the_next_invoice(
    control: SimulatorClient, account: str
) -> None:
    made = await control.add_customer(account, card={})
    changed = await control.change_balance(made["customer"]["id"], -500)
    assert (changed["type"], changed["ending_balance"]) == ("adjustment", -500)
    subscription = await control.add_subscription(account, made["customer"]["id"])
    invoice = await control.renew(subscription["id"])
    assert invoice is not None
    assert (invoice["amount_due"], invoice["ending_balance"]) == (1_500, 0)


async def test_what_was_too_small_is_charged_with_the_next_invoice(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, amount=40)
    assert _amounts(made["invoice"]) == ("paid", 0, 0, 0)
    following = await control.renew(made["subscription"]["id"])
    assert following is not None
    assert (following["starting_balance"], following["amount_due"]) == (40, 80)
    changes = (await client.v1.customers.balance_transactions.list_async(made["customer"]["id"])).data
    assert [(change.type, change.amount) for change in changes] == [
        ("applied_to_invoice", -40),
        ("invoice_too_small", 40),
    ]


async def test_an_invoice_of_nothing_is_paid_at_once_even_while_collection_is_paused(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_customer(account, card={}, balance=-5_000)
    subscription = await control.add_subscription(account, made["customer"]["id"], renews_in=DAY)
    await client.v1.subscriptions.update_async(subscription["id"], {"pause_collection": {"behavior": "void"}})
    await control.advance(2 * DAY)
    (invoice,) = (await client.v1.invoices.list_async()).data
    assert (invoice.status, invoice.amount_due) == ("paid", 0)


# -- currencies ----------------------------------------------------------------------------------


def test_amounts_are_written_as_their_currency_has_it() -> None:
    assert [decimals(code) for code in ("jpy", "ugx", "usd", "isk", "huf", "twd", "kwd")] == [0, 2, 2, 2, 2, 2, 3]
    assert (written(50, "jpy"), written(50, "usd"), written(1_230, "kwd")) == ("50 jpy", "0.50 usd", "1.230 kwd")
    assert not ZERO_DECIMAL & THREE_DECIMAL


@pytest.mark.parametrize(("currency", "amount"), [("jpy", 980), ("kwd", 12_340), ("huf", 17_500), ("isk", 150_000)])
async def test_every_currency_is_charged_in_its_own_minor_unit(
    currency: str, amount: int, control: SimulatorClient, make_stripe: MakeStripe
) -> None:
    account = (await control.add_account(currency=currency, connected=True))["id"]
    made = await control.add_renewal(account, amount=amount, card=DECLINED)
    await make_stripe(account).v1.invoices.pay_async(made["invoice"]["id"])
    dispute = await control.dispute((await control.charges())[0]["charge"])
    fee = 15 * 10 ** decimals(currency)
    assert dispute["balance_transactions"][0]["fee"] == fee
    assert [(row["amount"], row["currency"]) for row in await control.book()] == [
        (amount, currency),
        (-amount, currency),
        (-fee, currency),
    ]


@pytest.mark.parametrize("currency", sorted(MINIMUM_CHARGE))
async def test_the_least_of_each_currency_is_charged_and_less_is_not(currency: str, control: SimulatorClient) -> None:
    account = (await control.add_account(currency=currency, connected=True))["id"]
    enough = await control.add_renewal(account, amount=minimum(currency))
    small = await control.add_renewal(account, amount=minimum(currency) - 1)
    assert [made["invoice"]["amount_due"] for made in (enough, small)] == [minimum(currency), 0]
    assert len(await control.book(account=account)) == 1
