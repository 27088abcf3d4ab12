"""Objects and events that look otherwise than usual: test clocks, customers that are accounts, old and thin events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
import stripe
from aiohttp import web
from aiohttp.test_utils import TestServer

from simulator import SimulatorClient, SimulatorError
from simulator.meters import ERRORS
from simulator.shapes import DAY, HOUR, Json
from simulator.simulation import Simulator
from tests.simulator.answers import details, headers
from tests.simulator.conftest import START, MakeStripe


@asynccontextmanager
async def receiver(control: SimulatorClient, **plan: object) -> AsyncIterator[list[tuple[Json, str]]]:
    """What a webhook endpoint was sent: bodies and signatures."""
    got: list[tuple[Json, str]] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        stripe.WebhookSignature.verify_header(body.decode(), request.headers["Stripe-Signature"], "whsec_simulator")
        got.append((orjson.loads(body), body.decode()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        await control.configure_webhooks(url=str(server.make_url("/hook")), **plan)
        yield got


# -- customers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [40 * DAY, -40 * DAY], ids=["ahead", "behind"])
async def test_a_customer_on_a_test_clock_lives_at_another_time(
    ahead: int, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_customer(account, card={"decline": "do_not_honor"})
    clock = await control.set_test_clock(made["customer"]["id"], ahead)
    await control.change_account(account, stripe_retries=[3])
    subscription = await control.add_subscription(account, made["customer"]["id"])
    renewed = await control.renew(subscription["id"])
    assert renewed is not None
    found = await client.v1.invoices.retrieve_async(renewed["id"], {"expand": ["payments.data.payment.payment_intent"]})
    invoice = found.to_dict()
    intent = invoice["payments"]["data"][0]["payment"]["payment_intent"]
    now = START + ahead
    assert (invoice["created"], invoice["test_clock"]) == (now, clock["id"])
    assert invoice["status_transitions"]["finalized_at"] == now
    assert invoice["next_payment_attempt"] == now + 3 * DAY
    assert invoice["payments"]["data"][0]["created"] == now
    (charge,) = (await client.v1.charges.list_async()).data
    assert (intent["created"], charge.created) == (now, now)
    (failed,) = (await client.v1.events.list_async({"type": "invoice.payment_failed"})).data
    assert (failed.created, failed.to_dict()["data"]["object"]["created"]) == (START, now)
    updated = (await client.v1.events.list_async({"type": "invoice.updated"})).data[0].to_dict()
    assert updated["data"]["previous_attributes"]["next_payment_attempt"] is None
    shown = await client.v1.test_helpers.test_clocks.retrieve_async(clock["id"])
    assert shown.frozen_time == now
    await control.advance(3 * DAY)
    assert [entry["source"] for entry in await control.attempts()] == ["renewal", "stripe_retry"]
    moved = await client.v1.test_helpers.test_clocks.advance_async(clock["id"], {"frozen_time": now + 4 * DAY})
    assert moved.frozen_time == now + 4 * DAY
    assert await control.now() == START + 4 * DAY


async def test_others_keep_their_time(control: SimulatorClient, client: stripe.StripeClient, account: str) -> None:
    made, other = await control.add_renewal(account), await control.add_renewal(account)
    await control.set_test_clock(made["customer"]["id"], DAY)
    listed = (await client.v1.invoices.list_async()).data
    assert {each.id: each.created for each in listed} == {
        made["invoice"]["id"]: START + DAY,
        other["invoice"]["id"]: START,
    }


async def test_a_customer_that_is_an_account_is_named_in_another_field(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_customer(account, card={"decline": "lost_card"})
    ident = await control.make_customer_account(made["customer"]["id"])
    subscription = await control.add_subscription(account, made["customer"]["id"])
    renewed = await control.renew(subscription["id"])
    assert renewed is not None
    invoice = (await client.v1.invoices.retrieve_async(renewed["id"], {"expand": ["customer"]})).to_dict()
    assert (invoice["customer"], invoice["customer_account"]) == (None, ident)
    assert invoice["customer_email"] == made["customer"]["email"]
    failed = (await client.v1.events.list_async({"type": "invoice.payment_failed"})).data[0].to_dict()
    assert failed["data"]["object"]["customer_account"] == ident
    (charge,) = (await client.v1.charges.list_async()).data
    assert charge.customer is None
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.invoices.pay_async(renewed["id"])
    error = details(caught.value)
    assert error["payment_intent"]["customer_account"] == ident
    assert error["payment_method"]["customer"] is None
    listed = (await client.v1.payment_methods.list_async({"customer_account": ident})).data
    assert [each.id for each in listed] == [made["payment_method"]["id"]]
    with pytest.raises(stripe.InvalidRequestError, match="acct_nobody"):
        await client.v1.invoices.list_async({"customer_account": "acct_nobody"})
    assert (await client.v1.customers.retrieve_async(made["customer"]["id"])).customer_account == ident


async def test_an_address_that_is_added_or_corrected_is_told(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"}, person={"email": None})
    assert made["invoice"]["customer_email"] is None
    await control.change_person(made["customer"]["id"], email="right@customer.example")
    (told,) = (await client.v1.events.list_async({"type": "customer.updated"})).data
    data = told.to_dict()["data"]
    assert (data["object"]["email"], data["previous_attributes"]) == ("right@customer.example", {"email": None})
    # A finalised invoice keeps the address that it was finalised with.
    assert (await client.v1.invoices.retrieve_async(made["invoice"]["id"])).customer_email is None
    assert "right@customer.example" in await control.pii()
    with pytest.raises(SimulatorError, match="shoe_size"):
        await control.change_person(made["customer"]["id"], shoe_size=43)


async def test_a_deleted_customer_leaves_open_invoices_and_is_a_404(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"}, reaction={"kind": "pay", "delay": 60})
    customer, invoice = made["customer"]["id"], made["invoice"]["id"]
    await control.change_account(account, stripe_retries=[1])
    await control.delete_customer(customer)
    assert (await client.v1.customers.retrieve_async(customer)).to_dict() == {
        "id": customer,
        "object": "customer",
        "deleted": True,
    }
    shown = (await client.v1.invoices.retrieve_async(invoice, {"expand": ["customer"]})).to_dict()
    assert (shown["status"], shown["customer"]["deleted"]) == ("open", True)
    with pytest.raises(stripe.InvalidRequestError, match="No such customer") as caught:
        await client.v1.invoices.pay_async(invoice)
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        await client.v1.customers.payment_methods.list_async(customer)
    subscription = await client.v1.subscriptions.retrieve_async(made["subscription"]["id"])
    assert subscription.status == "canceled"
    assert (await client.v1.payment_methods.retrieve_async(made["payment_method"]["id"])).customer is None
    kinds = [event["type"] for event in await control.events()][-2:]
    assert kinds == ["customer.subscription.deleted", "customer.deleted"]


# -- events --------------------------------------------------------------------------------------


async def test_an_endpoint_of_early_2017_gets_user_id_and_no_account(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    async with receiver(control, user_id_share=1) as got:
        made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
        await client.v1.invoices.pay_async(made["invoice"]["id"])
        await control.deauthorize(account)
        assert await control.drain()
    events = [body for body, _ in got]
    for event in events:
        assert event["user_id"] == account
        assert not {"account", "context"} & set(event)
        assert event["api_version"] == "2017-04-06"
    failed = next(event for event in events if event["type"] == "invoice.payment_failed")
    assert failed["request"] is None
    invoice = failed["data"]["object"]
    assert invoice["subscription"] == made["subscription"]["id"]
    assert (invoice["billing"], invoice["closed"], invoice["forgiven"]) == ("charge_automatically", False, False)
    assert not {"status", "billing_reason", "collection_method", "parent"} & set(invoice)
    paid = next(event for event in events if event["type"] == "invoice.paid")
    assert paid["request"].startswith("req_")
    assert (paid["data"]["object"]["paid"], paid["data"]["object"]["closed"]) == (True, True)
    assert events[-1]["type"] == "account.application.deauthorized"


async def test_an_event_can_be_odd_while_its_object_stays_as_it_is(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    odd = await control.emit(
        "invoice.payment_failed", made["invoice"]["id"], changes={"status": None}, without=["billing_reason"]
    )
    data = (await control.event(odd))["data"]
    assert data["object"]["status"] is None
    assert "billing_reason" not in data["object"]
    assert (await client.v1.invoices.retrieve_async(made["invoice"]["id"])).status == "open"
    plain = await control.emit("invoice.updated", made["invoice"]["id"], previous={"auto_advance": False})
    assert (await control.event(plain))["data"]["previous_attributes"] == {"auto_advance": False}
    with pytest.raises(SimulatorError, match="in_unknown"):
        await control.emit("invoice.updated", "in_unknown")


# -- usage ---------------------------------------------------------------------------------------


async def usage(client: stripe.StripeClient, identifier: str) -> None:
    await client.v1.billing.meter_events.create_async(
        {"event_name": "calls", "identifier": identifier, "payload": {"stripe_customer_id": "cus_1", "value": "1"}}
    )


@pytest.mark.parametrize("code", sorted(ERRORS))
async def test_usage_that_was_accepted_can_be_refused_later_by_a_thin_event(
    code: str, control: SimulatorClient, client: stripe.StripeClient, make_stripe: MakeStripe, account: str
) -> None:
    await usage(client, "u1")
    await usage(client, "u2")
    async with receiver(control, twin_share=1) as got:
        full = await control.meter_error(account, code, ["u1"])
        assert await control.drain()
    thin, again = (body for body, _ in got)
    assert thin == {name: value for name, value in full.items() if name != "data"}
    assert again["id"] != thin["id"]
    assert {**again, "id": thin["id"]} == thin
    notification = make_stripe().parse_event_notification(
        got[0][1].encode(),
        stripe.WebhookSignature.generate_signature_header(got[0][1], "whsec_simulator"),
        "whsec_simulator",
    )
    kind = "v1.billing.meter.no_meter_found" if code == "no_meter" else "v1.billing.meter.error_report_triggered"
    assert (notification.type, str(notification.context)) == (kind, account)
    event = (await make_stripe().v2.core.events.retrieve_async(thin["id"], None, {"stripe_context": account})).to_dict()
    assert event["data"]["reason"]["error_types"][0]["code"] == code
    assert event["data"]["reason"]["error_types"][0]["sample_errors"][0]["request"]["identifier"] == "u1"
    assert [each["error"] for each in await control.meter_events()] == [code, None]
    assert (await client.v1.events.list_async()).data == []


async def test_a_thin_event_is_only_for_its_account(
    control: SimulatorClient, make_stripe: MakeStripe, account: str
) -> None:
    full = await control.meter_error(account, "archived_meter", ["u1"])
    other = (await control.add_account(connected=True))["id"]
    with pytest.raises(stripe.StripeError) as caught:
        await make_stripe().v2.core.events.retrieve_async(full["id"], None, {"stripe_context": other})
    assert caught.value.http_status == 404
    with pytest.raises(stripe.StripeError) as stranger:
        await make_stripe(key="sk_test_wrong").v2.core.events.retrieve_async(
            full["id"], None, {"stripe_context": account}
        )
    assert stranger.value.http_status == 401
    assert [entry["status"] for entry in await control.requests(path="/v2")] == [404, 401]
    with pytest.raises(SimulatorError, match="too_tired"):
        await control.meter_error(account, "too_tired")


@pytest.mark.parametrize(
    "sign",
    [
        {},
        {"code": "duplicate_meter_event"},
        {"status": 409, "code": "resource_already_exists"},
        {"message": "Duplicate identifier.", "param": "identifier"},
    ],
    ids=str,
)
async def test_a_repeated_identifier_is_answered_by_whatever_sign(
    sign: Json, control: SimulatorClient, client: stripe.StripeClient
) -> None:
    if sign:
        await control.meter_duplicates(**sign)
    await usage(client, "u1")
    with pytest.raises(stripe.StripeError) as caught:
        await usage(client, "u1")
    error = details(caught.value)
    assert caught.value.http_status == sign.get("status", 400)
    assert error.get("code") == sign.get("code")
    assert error["message"] == sign.get("message", "An event already exists with identifier u1.")
    assert headers(caught.value)["Stripe-Should-Retry"] == "false"
    assert len(await control.meter_events()) == 1


async def test_a_repeated_identifier_may_be_taken_and_not_counted(
    control: SimulatorClient, client: stripe.StripeClient
) -> None:
    await control.meter_duplicates(status=200)
    await usage(client, "u1")
    await usage(client, "u1")
    assert len(await control.meter_events()) == 1
    with pytest.raises(SimulatorError, match="colour"):
        await control.meter_duplicates(colour="red")


async def test_an_identifier_is_forgotten_after_a_day_and_counted_again(
    control: SimulatorClient, client: stripe.StripeClient
) -> None:
    await usage(client, "u1")
    await control.advance(DAY - HOUR)
    with pytest.raises(stripe.InvalidRequestError):
        await usage(client, "u1")
    await control.advance(HOUR)
    await usage(client, "u1")
    assert [each["identifier"] for each in await control.meter_events()] == ["u1", "u1"]


async def test_what_is_shown_changes_nothing_of_what_is_kept(
    simulation: Simulator, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    await control.set_test_clock(made["customer"]["id"], DAY)
    await control.make_customer_account(made["customer"]["id"])
    await client.v1.invoices.retrieve_async(made["invoice"]["id"])
    kept = simulation.world.accounts[account].get("invoice", made["invoice"]["id"])
    assert (kept["created"], kept["customer"]) == (START, made["customer"]["id"])
