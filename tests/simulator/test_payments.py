"""Scripted cards, seen through the real SDK."""

import pytest
import stripe

from simulator import SimulatorClient
from simulator.payment import DECLINES
from simulator.shapes import DAY
from tests.simulator.answers import details


async def test_a_failed_renewal_is_open_and_explains_itself_in_the_payment_intent(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "insufficient_funds", "brand": "mastercard"})
    found = await client.v1.invoices.retrieve_async(
        made["invoice"]["id"], {"expand": ["payments.data.payment.payment_intent"]}
    )
    invoice = found.to_dict()
    assert invoice["status"] == "open"
    assert invoice["attempt_count"] == 1
    assert invoice["billing_reason"] == "subscription_cycle"
    assert invoice["next_payment_attempt"] is None
    assert not {"payment_intent", "charge", "subscription", "paid"} & set(invoice)
    assert invoice["parent"]["subscription_details"]["subscription"] == made["subscription"]["id"]
    error = invoice["payments"]["data"][0]["payment"]["payment_intent"]["last_payment_error"]
    assert error["code"] == "card_declined"
    assert error["decline_code"] == "insufficient_funds"
    assert error["advice_code"] == "try_again_later"
    assert error["network_decline_code"] == "51"
    assert error["network_advice_code"] == "27"
    charge = (await client.v1.charges.retrieve_async(error["charge"])).to_dict()
    assert charge["outcome"]["network_decline_code"] == "51"
    assert charge["outcome"]["type"] == "issuer_declined"
    assert charge["payment_method_details"]["card"]["network"] == "mastercard"
    subscription = await client.v1.subscriptions.retrieve_async(made["subscription"]["id"])
    assert subscription.status == "past_due"


@pytest.mark.parametrize("name", sorted(DECLINES))
async def test_every_decline_of_the_table_is_a_402_with_its_codes(
    name: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": name, "brand": "mastercard"})
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    why, error = DECLINES[name], details(caught.value)
    assert caught.value.http_status == 402
    assert error["type"] == "card_error"
    assert error["code"] == why.code
    assert error.get("decline_code") == why.decline_code
    assert ("charge" in error) is why.charged
    assert error.get("advice_code") == why.advice_code
    assert error.get("network_decline_code") == why.network_decline_code
    assert error.get("network_advice_code") == why.network_advice_code
    assert error["payment_intent"]["status"] == "requires_payment_method"
    assert [entry["outcome"] for entry in await control.attempts(made["invoice"]["id"])] == ["declined"] * 2


async def test_only_mastercard_sends_merchant_advice_codes(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card", "brand": "visa"})
    assert "network_advice_code" not in made["payment_intent"]["last_payment_error"]
    assert made["payment_intent"]["last_payment_error"]["network_decline_code"] == "41"


async def test_a_decline_clears_on_its_day(control: SimulatorClient, client: stripe.StripeClient, account: str) -> None:
    made = await control.add_renewal(account, card={"decline": "insufficient_funds", "clears_in": 3 * DAY})
    await control.advance(3 * DAY - 1)
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    await control.advance(1)
    paid = await client.v1.invoices.pay_async(made["invoice"]["id"])
    assert paid.status == "paid"
    assert paid.amount_remaining == 0
    subscription = await client.v1.subscriptions.retrieve_async(made["subscription"]["id"])
    assert subscription.status == "active"


async def test_a_decline_clears_after_so_many_attempts(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 2})
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "paid"


async def test_our_attempts_do_not_move_the_invoices_attempt_count(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    for _ in range(3):
        with pytest.raises(stripe.CardError):
            await client.v1.invoices.pay_async(made["invoice"]["id"])
    invoice = await client.v1.invoices.retrieve_async(made["invoice"]["id"])
    assert invoice.attempt_count == 1
    assert len(await control.attempts(invoice.id)) == 4


async def test_a_card_that_needs_3d_secure_waits_for_the_customer_and_never_for_us(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"needs_3ds": True})
    invoice = made["invoice"]["id"]
    assert made["payment_intent"]["status"] == "requires_action"
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.invoices.pay_async(invoice)
    assert caught.value.code == "invoice_payment_intent_requires_action"
    assert (await control.authenticate(invoice))["error"] is None
    assert (await client.v1.invoices.retrieve_async(invoice)).status == "paid"
    (charge,) = await control.charges()
    assert charge["source"] == "hosted_page"


async def test_a_customer_can_pay_on_the_hosted_page_with_a_card_that_needs_3d_secure(
    control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"})
    assert (await control.pay_hosted(made["invoice"]["id"], needs_3ds=True))["error"] is None
    assert (await control.object(made["invoice"]["id"]))["status"] == "paid"


async def test_a_card_can_be_declined_on_the_hosted_page_too(control: SimulatorClient, account: str) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"})
    paid = await control.pay_hosted(made["invoice"]["id"], decline="insufficient_funds")
    assert paid["error"]["decline_code"] == "insufficient_funds"
    assert (paid["invoice"]["status"], paid["invoice"]["attempt_count"]) == ("open", 1)


async def test_the_charge_log_names_source_amount_and_currency(
    control: SimulatorClient, client: stripe.StripeClient
) -> None:
    euros = await control.add_account(currency="eur", connected=True)
    made = await control.add_renewal(euros["id"], amount=4_900)
    (charge,) = await control.charges()
    assert charge["invoice"] == made["invoice"]["id"]
    assert (charge["source"], charge["amount"], charge["currency"]) == ("renewal", 4_900, "eur")


@pytest.mark.parametrize(
    ("verb", "message"),
    [("pay", "Invoice is already paid"), ("void", "Voided invoices cannot be paid.")],
)
async def test_paying_a_closed_invoice_is_a_400_and_moves_no_money(
    verb: str,
    message: str,
    control: SimulatorClient,
    client: stripe.StripeClient,
    account: str,
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    invoice = made["invoice"]["id"]
    if verb == "pay":
        await client.v1.invoices.pay_async(invoice)
    else:
        await client.v1.invoices.void_invoice_async(invoice)
    before = await control.attempts()
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.invoices.pay_async(invoice)
    assert caught.value.http_status == 400
    assert details(caught.value)["message"] == message
    assert await control.attempts() == before


async def test_an_uncollectible_invoice_can_still_be_paid(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    written_off = await client.v1.invoices.mark_uncollectible_async(made["invoice"]["id"])
    assert written_off.status == "uncollectible"
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "paid"


async def test_the_subscriptions_own_card_is_charged_before_the_customers(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "expired_card"}, own_method=True)
    other = await client.v1.payment_methods.retrieve_async(made["payment_method"]["id"])
    assert other.card is not None
    assert other.card.exp_year < 2026
    good = await control.add_card(made["customer"]["id"], default=False)
    await client.v1.customers.update_async(
        made["customer"]["id"], {"invoice_settings": {"default_payment_method": good["id"]}}
    )
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    await client.v1.subscriptions.update_async(made["subscription"]["id"], {"default_payment_method": good["id"]})
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "paid"


async def test_a_strangers_card_cannot_become_a_default(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made, stranger = await control.add_renewal(account), await control.add_customer(account, card={})
    card = stranger["payment_method"]["id"]
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.subscriptions.update_async(made["subscription"]["id"], {"default_payment_method": card})
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.customers.update_async(
            made["customer"]["id"], {"invoice_settings": {"default_payment_method": card}}
        )


async def test_a_payment_method_can_be_named_and_must_be_the_customers(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "stolen_card"})
    stranger = await control.add_customer(account, card={})
    backup = await control.add_card(made["customer"]["id"], default=False)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.invoices.pay_async(made["invoice"]["id"], {"payment_method": stranger["payment_method"]["id"]})
    paid = await client.v1.invoices.pay_async(made["invoice"]["id"], {"payment_method": backup["id"]})
    assert paid.status == "paid"


async def test_a_detached_card_is_nobodys_default_and_is_not_charged(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1}, own_method=True)
    await client.v1.payment_methods.detach_async(made["payment_method"]["id"])
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    assert await control.charges() == []


async def test_paid_out_of_band_settles_without_a_charge(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"})
    paid = await client.v1.invoices.pay_async(made["invoice"]["id"], {"paid_out_of_band": True})
    assert paid.status == "paid"
    assert paid.amount_paid_off_stripe == paid.amount_due
    assert await control.charges() == []
    intent = await client.v1.payment_intents.retrieve_async(made["payment_intent"]["id"])
    assert intent.status == "canceled"


async def test_refunds_and_disputes_are_objects_and_events(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    await control.add_renewal(account, amount=5_000)
    (entry,) = await control.charges()
    refund = await client.v1.refunds.create_async({"charge": entry["charge"], "amount": 2_000})
    assert refund.amount == 2_000
    charge = await client.v1.charges.retrieve_async(entry["charge"])
    assert (charge.amount_refunded, charge.refunded) == (2_000, False)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.refunds.create_async({"charge": entry["charge"], "amount": 3_001})
    await control.dispute(entry["charge"])
    (dispute,) = (await client.v1.disputes.list_async({"charge": entry["charge"]})).data
    assert dispute.status == "needs_response"
    kinds = [event["type"] for event in await control.events()]
    assert kinds[-4:] == [
        "refund.created",
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
    ]
