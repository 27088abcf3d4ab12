"""Cards that change under their id, pinned cards, several cards, and cards from before payment methods."""

import pytest
import stripe

from simulator import SimulatorClient, SimulatorError
from simulator.cards import RENEWALS
from simulator.legacy import source_of
from simulator.shapes import Json
from simulator.simulation import Simulator
from simulator.validation import stripe_api


async def charged(control: SimulatorClient, invoice: str) -> Json:
    (entry,) = [each for each in await control.attempts(invoice) if each["outcome"] == "succeeded"]
    return entry


@pytest.mark.parametrize("number", [True, False], ids=["a new number", "a new date"])
async def test_the_card_updater_renews_a_card_under_its_id(
    number: bool, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "expired_card"})
    old = made["payment_method"]["card"]
    renewed = await control.renew_card(made["payment_method"]["id"], number=number)
    assert renewed["id"] == made["payment_method"]["id"]
    assert renewed["card"]["exp_year"] == old["exp_year"] + 5
    assert (renewed["card"]["fingerprint"] != old["fingerprint"]) is number
    assert (renewed["card"]["last4"] != old["last4"]) is number
    (told,) = (await client.v1.events.list_async({"type": "payment_method.automatically_updated"})).data
    data = told.to_dict()["data"]
    assert data["object"]["card"] == renewed["card"]
    wanted = {"exp_year": old["exp_year"]}
    if number:
        wanted |= {"fingerprint": old["fingerprint"], "last4": old["last4"]}
    assert data["previous_attributes"] == {"card": wanted}
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "paid"
    assert (await charged(control, made["invoice"]["id"]))["fingerprint"] == renewed["card"]["fingerprint"]


async def test_a_renewed_card_can_still_be_declined_and_look_as_told(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"})
    method = made["payment_method"]["id"]
    renewed = await control.renew_card(method, number=True, last4="9999", exp_year=2033, decline="insufficient_funds")
    assert (renewed["card"]["last4"], renewed["card"]["exp_year"]) == ("9999", 2033)
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    assert caught.value.json_body["error"]["decline_code"] == "insufficient_funds"  # type: ignore[index]


async def test_a_renewal_is_told_under_every_name_that_it_has_had(
    simulation: Simulator, control: SimulatorClient, account: str
) -> None:
    made = await control.add_customer(account)
    source = await control.add_source(made["customer"]["id"])
    await control.renew_card(source["id"], events=list(RENEWALS))
    told = [event for event in await control.events() if event["type"] in RENEWALS]
    assert [event["type"] for event in told] == list(RENEWALS)
    for event in told:
        data = (await control.event(event["id"]))["data"]
        is_source = event["type"] in {"customer.source.updated", "customer.card.updated"}
        assert data["object"]["object"] == ("card" if is_source else "payment_method")
        assert data["object"]["id"] == source["id"]
        assert ("exp_year" in data["previous_attributes"]) is is_source
    with pytest.raises(SimulatorError, match="Unknown"):
        await control.renew_card(source["id"], events=["invoice.paid"])


async def test_a_pinned_card_is_charged_although_the_customer_brings_another_by_a_form(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"}, own_method=True)
    new = await control.own_form(made["customer"]["id"])
    assert [event["type"] for event in await control.events()][-2:] == ["payment_method.attached", "customer.updated"]
    customer = await client.v1.customers.retrieve_async(made["customer"]["id"])
    assert customer.to_dict()["invoice_settings"]["default_payment_method"] == new["id"]
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    await control.pin_card(made["subscription"]["id"], None)
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "paid"
    assert (await charged(control, made["invoice"]["id"]))["payment_method"] == new["id"]


@pytest.mark.parametrize(("by", "follows"), [("portal", True), ("form", False)])
async def test_a_pin_follows_the_portal_and_not_a_form(
    by: str, follows: bool, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"}, own_method=True)
    second = await control.add_card(made["customer"]["id"], default=False)
    before = len(await control.events(type="customer.subscription.updated"))
    await control.change_default(made["customer"]["id"], second["id"], by=by)
    subscription = await client.v1.subscriptions.retrieve_async(made["subscription"]["id"])
    wanted = second["id"] if follows else made["payment_method"]["id"]
    assert subscription.default_payment_method == wanted
    told = len(await control.events(type="customer.subscription.updated")) - before
    assert told == (1 if follows else 0)


async def test_a_card_can_be_pinned_and_a_second_one_named(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"})
    second = await control.own_form(made["customer"]["id"], default=False)
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    await control.pin_card(made["subscription"]["id"], second["id"])
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "paid"
    with pytest.raises(SimulatorError, match="No such payment_method"):
        await control.pin_card(made["subscription"]["id"], "pm_unknown")


@pytest.mark.parametrize("prefix", ["card", "src"])
async def test_a_legacy_card_is_the_default_source_and_is_charged(
    prefix: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_customer(account)
    source = await control.add_source(made["customer"]["id"], prefix=prefix, decline="do_not_honor", clears_after=1)
    assert source["id"].startswith(f"{prefix}_")
    subscription = await control.add_subscription(account, made["customer"]["id"])
    invoice = await control.renew(subscription["id"])
    assert invoice is not None
    customer = await client.v1.customers.retrieve_async(made["customer"]["id"], {"expand": ["default_source"]})
    shown = customer.to_dict()
    assert shown["invoice_settings"]["default_payment_method"] is None
    assert shown["default_source"]["object"] == ("card" if prefix == "card" else "source")
    assert (await client.v1.payment_methods.retrieve_async(source["id"])).id == source["id"]
    assert (await client.v1.invoices.pay_async(invoice["id"])).status == "paid"
    assert (await charged(control, invoice["id"]))["payment_method"] == source["id"]


async def test_a_renewal_can_be_of_a_legacy_card_at_once(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_source_renewal(account, {"decline": "insufficient_funds"}, prefix="src")
    customer = await client.v1.customers.retrieve_async(made["customer"]["id"])
    assert customer.default_source == made["payment_method"]["id"]
    assert made["invoice"]["status"] == "open"
    assert [entry["payment_method"] for entry in await control.attempts()] == [made["payment_method"]["id"]]


async def test_payment_methods_go_before_the_default_source(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    source = await control.add_source(made["customer"]["id"])
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    await control.change_default(made["customer"]["id"], None)
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"], {"source": source["id"]})).status == "paid"


def test_legacy_cards_hold_against_stripes_schemas(simulation: Simulator) -> None:
    account = simulation.population.add_account()
    person = {"name": "Ann Other", "email": "ann@customer.example"}
    customer = simulation.people.add_customer(account, person, currency="usd")
    for prefix in ("card", "src"):
        method = simulation.cards.add_source(account, customer, {}, prefix=prefix, default=True)
        shown = source_of(method)
        stripe_api().check_resource(shown["object"], shown)


async def test_a_customer_without_any_payment_method_fails_without_a_charge(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_bare_renewal(account)
    assert made["payment_method"] is None
    assert (made["invoice"]["status"], made["invoice"]["attempt_count"]) == ("open", 1)
    assert made["payment_intent"]["last_payment_error"] is None
    assert len(await control.events(type="invoice.payment_failed")) == 1
    assert await control.attempts() == []
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source") as caught:
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    assert caught.value.code == "resource_missing"
    await control.own_form(made["customer"]["id"])
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "paid"
