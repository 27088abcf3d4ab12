"""Bank debits: begun today, ended days later, and now and then taken back after that."""

from typing import Any

import orjson
import pytest
import stripe

from simulator import Simulator, SimulatorClient
from simulator.bank_accounts import CURRENCIES, FAILURES, TAKES_DAYS
from simulator.client import SimulatorError
from simulator.shapes import DAY, Json
from tests.simulated import simulated
from tests.simulator.answers import details
from tests.simulator.conftest import START, MakeStripe

ACH: Json = {"type": "us_bank_account"}


async def _kinds(control: SimulatorClient, since: int = 0) -> list[str]:
    return [event["type"] for event in (await control.events())[since:]]


async def _charge_of(control: SimulatorClient, made: Json) -> Json:
    intent = await control.object(made["payment_intent"]["id"])
    return await control.object(intent["latest_charge"])


@pytest.mark.parametrize("kind", sorted(TAKES_DAYS))
async def test_a_renewal_by_debit_is_under_way_for_days_and_then_paid(
    kind: str, control: SimulatorClient, make_stripe: MakeStripe
) -> None:
    account = (await control.add_account(currency=CURRENCIES[kind], connected=True))["id"]
    made = await control.add_renewal(account, debit={"type": kind})
    client, invoice = make_stripe(account), made["invoice"]["id"]

    found = (
        await client.v1.invoices.retrieve_async(invoice, {"expand": ["payments.data.payment.payment_intent"]})
    ).to_dict()
    assert (found["status"], found["attempted"], found["attempt_count"]) == ("open", True, 1)
    assert (found["amount_paid"], found["amount_remaining"]) == (0, 2_000)
    intent = found["payments"]["data"][0]["payment"]["payment_intent"]
    assert (intent["status"], intent["last_payment_error"]) == ("processing", None)
    charge = (await client.v1.charges.retrieve_async(intent["latest_charge"])).to_dict()
    assert (charge["status"], charge["paid"], charge["balance_transaction"]) == ("pending", False, None)
    assert charge["payment_method_details"]["type"] == kind
    assert charge["id"].startswith("py_")
    assert (await client.v1.subscriptions.retrieve_async(made["subscription"]["id"])).status == "active"
    assert (await client.v1.payment_methods.retrieve_async(made["payment_method"]["id"])).type == kind
    begun = len(await control.events())
    assert (await _kinds(control))[-3:] == ["payment_intent.processing", "charge.pending", "invoice.updated"]
    assert await control.book() == []

    await control.advance(TAKES_DAYS[kind] * DAY - 1)
    assert (await client.v1.invoices.retrieve_async(invoice)).status == "open"
    await control.advance(1)
    assert (await client.v1.invoices.retrieve_async(invoice)).status == "paid"
    assert (await client.v1.charges.retrieve_async(charge["id"])).paid
    assert await _kinds(control, begun) == [
        "charge.succeeded",
        "invoice_payment.paid",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "payment_intent.succeeded",
    ]
    (row,) = await control.book()
    assert (row["kind"], row["source"], row["amount"], row["charge"]) == ("charge", "renewal", 2_000, charge["id"])
    assert row["at"] == START + TAKES_DAYS[kind] * DAY


async def test_a_debit_of_ours_is_a_200_with_an_open_invoice_and_blocks_every_other_payment(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    invoice = made["invoice"]["id"]
    await control.add_debit(made["customer"]["id"], "us_bank_account")
    answer = await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert answer.status == "open"
    assert (await client.v1.payment_intents.retrieve_async(made["payment_intent"]["id"])).status == "processing"
    assert (await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})).status == "open"

    tries = len(await control.attempts(invoice))
    for attempt in (
        client.v1.invoices.pay_async(invoice),
        client.v1.invoices.pay_async(invoice, {"paid_out_of_band": True}),
        client.v1.invoices.void_invoice_async(invoice),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await attempt
        assert details(caught.value)["code"] == "payment_intent_unexpected_state"
    with pytest.raises(SimulatorError, match="processing"):
        await control.pay_hosted(invoice)
    assert len(await control.attempts(invoice)) == tries

    await control.advance(4 * DAY)
    assert (await client.v1.invoices.retrieve_async(invoice)).status == "paid"
    (charge,) = await control.charges()
    assert (charge["source"], charge["idempotency_key"], charge["at"]) == ("api_pay", "k", START + 4 * DAY)
    assert (await control.summary())["double_charged"] == []


@pytest.mark.parametrize("name", sorted(FAILURES))
async def test_every_failure_of_the_table_comes_days_later_with_its_reason(
    name: str, control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(account, debit={**ACH, "fails": name})
    begun, why = len(await control.events()), FAILURES[name]
    await control.advance(4 * DAY)
    charge = await _charge_of(control, made)
    assert (charge["status"], charge["failure_code"], charge["amount_captured"]) == ("failed", name, 0)
    assert charge["outcome"]["network_decline_code"] == why.return_code
    intent = await control.object(made["payment_intent"]["id"])
    assert intent["status"] == "requires_payment_method"
    assert intent["last_payment_error"]["code"] == name
    assert intent["last_payment_error"]["charge"] == charge["id"]
    assert await _kinds(control, begun) == [
        "charge.failed",
        "payment_intent.payment_failed",
        "invoice.payment_failed",
        "customer.subscription.updated",
    ]
    invoice = await control.object(made["invoice"]["id"])
    assert (invoice["status"], invoice["attempt_count"], invoice["amount_remaining"]) == ("open", 1, 2_000)
    assert (await control.object(made["subscription"]["id"]))["status"] == "past_due"
    (fee,) = await control.book()
    assert (fee["kind"], fee["amount"], fee["charge"]) == ("fee", -400, charge["id"])


async def test_a_failed_debit_can_be_tried_again_and_clears(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, debit={**ACH, "fails": "insufficient_funds", "clears_in": 6 * DAY})
    await control.advance(4 * DAY)
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "open"
    await control.advance(4 * DAY)
    assert (await client.v1.invoices.retrieve_async(made["invoice"]["id"])).status == "paid"
    assert (await control.object(made["subscription"]["id"]))["status"] == "active"
    log = await control.attempts(made["invoice"]["id"])
    assert [(entry["source"], entry["outcome"], entry["concludes"]) for entry in log] == [
        ("renewal", "processing", None),
        ("renewal", "failed", 1),
        ("api_pay", "processing", None),
        ("api_pay", "succeeded", 3),
    ]
    assert log[1]["decline_code"] == "insufficient_funds"


async def test_stripes_own_retry_is_a_debit_too_and_never_meets_one_under_way(
    control: SimulatorClient, make_stripe: MakeStripe
) -> None:
    account = (await control.add_account(connected=True, stripe_retries=[3, 5]))["id"]
    made = await control.add_renewal(account, debit={**ACH, "fails": "insufficient_funds", "clears_after": 1})
    await control.advance(4 * DAY)
    invoice = await control.object(made["invoice"]["id"])
    assert invoice["next_payment_attempt"] == START + 7 * DAY
    # Ours is under way when Stripe's retry is due: Stripe makes none.
    await make_stripe(account).v1.invoices.pay_async(invoice["id"])
    await control.advance(4 * DAY)
    assert [entry["source"] for entry in await control.attempts(invoice["id"])] == ["renewal"] * 2 + ["api_pay"] * 2

    other = await control.add_renewal(account, debit={**ACH, "fails": "insufficient_funds", "clears_after": 1})
    await control.advance(11 * DAY)
    log = await control.attempts(other["invoice"]["id"])
    assert [entry["source"] for entry in log] == ["renewal", "renewal", "stripe_retry", "stripe_retry"]
    paid = await control.object(other["invoice"]["id"])
    assert (paid["status"], paid["attempt_count"]) == ("paid", 2)


async def test_a_customer_pays_by_debit_on_the_hosted_page(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"})
    begun = await control.pay_hosted(made["invoice"]["id"], debit={**ACH, "last4": "6789"})
    assert (begun["error"], begun["invoice"]["status"]) == (None, "open")
    charge = await _charge_of(control, made)
    assert charge["payment_method_details"]["us_bank_account"]["last4"] == "6789"
    await control.advance(4 * DAY)
    assert (await control.object(made["invoice"]["id"]))["status"] == "paid"
    assert [row["source"] for row in await control.book()] == ["hosted_page"]


@pytest.mark.parametrize("reaction", ["pay", "authenticate"])
async def test_a_customer_who_opens_the_page_while_a_debit_is_under_way_can_do_nothing(
    reaction: str, simulation: Simulator, control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(account, debit=dict(ACH), reaction={"kind": reaction, "delay": DAY})
    simulation.people.email_arrived(made["invoice"]["hosted_invoice_url"])
    await control.advance(2 * DAY)
    assert len(await control.attempts()) == 1


@pytest.mark.parametrize(
    ("reason", "dispute"),
    [
        ("insufficient_funds", "insufficient_funds"),
        ("account_closed", "incorrect_account_details"),
        ("bank_account_frozen", "bank_cannot_process"),
        ("debit_not_authorized", "debit_not_authorized"),
    ],
)
async def test_a_paid_debit_that_comes_back_is_a_dispute_lost_at_once(
    reason: str, dispute: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, debit={**ACH, "returns": reason, "returns_days": 10})
    await control.advance(4 * DAY)
    paid = len(await control.events())
    await control.advance(10 * DAY)
    (found,) = (await client.v1.disputes.list_async()).data
    assert (found.status, found.reason, found.amount) == ("lost", dispute, 2_000)
    assert await _kinds(control, paid) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
    ]
    # The invoice stays paid, as at Stripe; only the money is gone.
    assert (await client.v1.invoices.retrieve_async(made["invoice"]["id"])).status == "paid"
    assert [(row["kind"], row["amount"]) for row in await control.book()] == [
        ("charge", 2_000),
        ("dispute_withdrawn", -2_000),
        ("fee", -1_500),
    ]


async def test_after_a_dispute_a_debit_is_refused_without_a_charge(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, debit=dict(ACH))
    await control.advance(4 * DAY)
    (row,) = await control.book()
    await control.return_debit(row["charge"])
    invoice = await control.renew(made["subscription"]["id"])
    assert invoice is not None
    with pytest.raises(stripe.InvalidRequestError, match="requires a mandate") as caught:
        await client.v1.invoices.pay_async(invoice["id"])
    assert details(caught.value)["payment_intent"]["status"] == "requires_confirmation"
    log = await control.attempts(invoice["id"])
    assert [(entry["outcome"], entry["charge"]) for entry in log] == [("refused", None)] * 2


async def test_a_bank_takes_back_debits_only(control: SimulatorClient, account: str) -> None:
    await control.add_renewal(account)
    (row,) = await control.book()
    with pytest.raises(SimulatorError, match="Only a debit is taken back"):
        await control.return_debit(row["charge"])
    assert await control.book() == [row]


async def test_a_debit_that_never_ends_is_ended_by_the_test(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, debit={**ACH, "takes_days": None})
    await control.advance(90 * DAY)
    charge = await _charge_of(control, made)
    assert charge["status"] == "pending"
    assert (await control.end_debit(charge["id"], fails="no_account"))["failure_code"] == "no_account"
    for fails in (None, "no_account"):
        with pytest.raises(SimulatorError, match="No debit is under way"):
            await control.end_debit(charge["id"], fails=fails)
    with pytest.raises(SimulatorError, match="Unknown failure"):
        await control.end_debit(charge["id"], fails="tired")


async def test_a_debit_ended_early_is_not_ended_again_when_its_days_are_over(
    control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(account, debit=dict(ACH))
    await control.end_debit((await _charge_of(control, made))["id"])
    await control.advance(10 * DAY)
    assert len(await control.book()) == 1


async def test_a_new_script_decides_how_a_debit_under_way_ends(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, debit=dict(ACH))
    await control.set_debit_script(made["payment_method"]["id"], fails="account_closed")
    await control.advance(4 * DAY)
    assert (await _charge_of(control, made))["failure_code"] == "account_closed"


async def test_money_that_arrives_after_the_end_still_pays_the_invoice(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, debit=dict(ACH))
    await control.cancel_subscription(made["subscription"]["id"])
    await client.v1.invoices.mark_uncollectible_async(made["invoice"]["id"])
    await control.advance(4 * DAY)
    assert (await client.v1.invoices.retrieve_async(made["invoice"]["id"])).status == "paid"
    assert (await control.object(made["subscription"]["id"]))["status"] == "canceled"


@pytest.mark.parametrize(
    ("debit", "message"),
    [
        ({"type": "sepa_debit"}, "debited in eur"),
        ({"type": "card"}, "debited in None"),
        ({**ACH, "fails": "tired"}, "Unknown failure 'tired'"),
        ({**ACH, "speed": 9}, "A debit has no"),
    ],
)
async def test_a_debit_that_cannot_be_is_refused(
    debit: dict[str, Any], message: str, control: SimulatorClient, account: str
) -> None:
    with pytest.raises(SimulatorError, match=message):
        await control.add_renewal(account, debit=debit)


async def test_the_same_seed_tells_the_same_story_of_debits() -> None:
    async def story(cuts: int) -> bytes:
        async with simulated(seed=3, start=START, validate_responses=True) as served:
            control = served.control
            account = (await control.add_account(connected=True))["id"]
            for fails in (None, "insufficient_funds", "no_account"):
                await control.add_renewal(account, debit={**ACH, "fails": fails, "returns": "account_closed"})
            for _ in range(cuts):
                await control.advance(12 * DAY // cuts)
            return orjson.dumps(
                [[event.body.decode() for event in served.simulation.world.events.values()], await control.book()]
            )

    assert await story(1) == await story(48)
