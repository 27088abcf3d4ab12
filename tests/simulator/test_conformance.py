"""Every imitated endpoint is called, and each answer holds against Stripe's response schemas."""

import re
from collections.abc import Awaitable, Callable

import pytest
import stripe

from simulator import SimulatorClient
from simulator.endpoints import ENDPOINTS
from simulator.shapes import Json
from simulator.simulation import Simulator
from simulator.stripe_document import fixtures
from simulator.validation import AnswerInvalid, stripe_api
from tests.simulator.conftest import START

Send = Callable[..., Awaitable[Json]]


@pytest.fixture
def send(client: stripe.StripeClient) -> Send:
    async def call(method: str, path: str, **params: object) -> Json:
        answer = await client.raw_request_async(method, path, **params)
        return dict(client.deserialize(answer, api_mode="V1").to_dict())

    return call


async def _failed(control: SimulatorClient, account: str) -> Json:
    return await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})


async def test_every_endpoint_answers_in_stripes_shape(
    control: SimulatorClient, account: str, send: Send, client: stripe.StripeClient
) -> None:
    paid, failed = await control.add_renewal(account), await _failed(control, account)
    voided, lost = await _failed(control, account), await _failed(control, account)
    ids = {kind: paid[kind]["id"] for kind in ("customer", "subscription", "payment_method")}
    invoice, intent = paid["invoice"]["id"], paid["payment_intent"]["id"]
    (charge,) = (entry["charge"] for entry in await control.charges())
    disputed = await control.add_renewal(account)
    lost_charge = (await control.charges())[-1]["charge"]
    dispute = await control.dispute(lost_charge)
    noted, owed = disputed["invoice"]["id"], disputed["customer"]["id"]

    await send("get", "/v1/account")
    await send("get", f"/v1/accounts/{account}")
    for path, ident in (
        ("invoices", invoice),
        ("customers", ids["customer"]),
        ("payment_methods", ids["payment_method"]),
        ("payment_intents", intent),
        ("charges", charge),
        ("subscriptions", ids["subscription"]),
        ("prices", paid["subscription"]["items"]["data"][0]["price"]["id"]),
        ("products", paid["subscription"]["items"]["data"][0]["price"]["product"]),
    ):
        assert (await send("get", f"/v1/{path}/{ident}"))["id"] == ident
        await send("get", f"/v1/{path}")
    await send("get", "/v1/payment_methods", customer=ids["customer"])
    await send("get", f"/v1/customers/{ids['customer']}/payment_methods")
    for path in ("invoice_payments", "disputes", "events"):
        listed = await send("get", f"/v1/{path}")
        assert (await send("get", f"/v1/{path}/{listed['data'][0]['id']}"))["object"]

    await send("post", f"/v1/invoices/{failed['invoice']['id']}", metadata={"a": "b"})
    await send("post", f"/v1/invoices/{failed['invoice']['id']}/finalize")
    await send("post", f"/v1/invoices/{failed['invoice']['id']}/pay")
    await send("post", f"/v1/invoices/{voided['invoice']['id']}/void")
    await send("post", f"/v1/invoices/{lost['invoice']['id']}/mark_uncollectible")
    await send("post", f"/v1/customers/{ids['customer']}", metadata={"a": "b"}, name="Ann Other")
    await send("post", f"/v1/payment_methods/{ids['payment_method']}/attach", customer=ids["customer"])
    await send("post", f"/v1/payment_methods/{ids['payment_method']}/detach")
    await send("post", f"/v1/subscriptions/{ids['subscription']}", cancel_at_period_end="true")
    await send("delete", f"/v1/subscriptions/{ids['subscription']}")
    refund = await send("post", "/v1/refunds", payment_intent=intent)
    await send("get", f"/v1/refunds/{refund['id']}")
    await send("get", "/v1/refunds")
    await send("post", f"/v1/disputes/{dispute['id']}/close")
    note = await send("post", "/v1/credit_notes", invoice=noted, amount="500", credit_amount="500")
    await send("get", f"/v1/credit_notes/{note['id']}")
    await send("get", "/v1/credit_notes", invoice=noted)
    await send("post", f"/v1/customers/{owed}/balance_transactions", amount="-100", currency="usd")
    assert len((await send("get", f"/v1/customers/{owed}/balance_transactions"))["data"]) == 2
    moved = await send("get", "/v1/balance_transactions", source=charge)
    await send("get", f"/v1/balance_transactions/{moved['data'][0]['id']}")
    await send(
        "post",
        "/v1/billing_portal/sessions",
        customer=ids["customer"],
        flow_data={"type": "payment_method_update"},
    )
    session = await send(
        "post",
        "/v1/checkout/sessions",
        mode="setup",
        currency="usd",
        customer=ids["customer"],
        success_url="https://merchant.example/done",
    )
    await send("get", f"/v1/checkout/sessions/{session['id']}")
    await send("post", f"/v1/checkout/sessions/{session['id']}/expire")
    meter = await send(
        "post",
        "/v1/billing/meters",
        display_name="Recoveries",
        event_name="recoveries",
        default_aggregation={"formula": "sum"},
    )
    await send("get", f"/v1/billing/meters/{meter['id']}")
    await send("get", "/v1/billing/meters")
    await send("post", "/v1/billing/meter_events", event_name="recoveries", payload={"value": "1"})
    clock = await send("post", "/v1/test_helpers/test_clocks", frozen_time=str(START + 60))
    await send("get", f"/v1/test_helpers/test_clocks/{clock['id']}")
    path = f"/v1/test_helpers/test_clocks/{clock['id']}/advance"
    await send("post", path, frozen_time=str(START + 120))

    called = {(entry["method"], entry["path"]) for entry in await control.requests() if entry["status"] == 200}
    missed = [
        (method, template)
        for method, template in ENDPOINTS
        if not any(
            method == verb and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) for verb, path in called
        )
    ]
    assert missed == []


def test_every_endpoint_is_in_stripes_document() -> None:
    known = {(operation.method, operation.template) for operation in stripe_api().operations()}
    assert set(ENDPOINTS) <= known


async def test_a_whole_month_makes_only_events_in_stripes_shape(
    simulation: Simulator, control: SimulatorClient
) -> None:
    # The simulation validates each event's object when it is made and would stop here.
    await control.populate(accounts=3, subscriptions=40, failing=0.5, connected=True, stripe_retries=[3, 5, 7])
    await control.advance(32 * 86_400)
    kinds = {event.type for event in simulation.world.events.values()}
    assert {
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice.payment_failed",
        "invoice.payment_action_required",
        "invoice.updated",
        "charge.succeeded",
        "charge.failed",
        "customer.subscription.updated",
    } <= kinds


def test_the_check_of_answers_finds_a_wrong_one() -> None:
    good = fixtures()["customer"]
    stripe_api().check_resource("customer", good)
    for wrong in ({**good, "emial": "x"}, {**good, "created": "today"}, {"id": "cus_1"}):
        with pytest.raises(AnswerInvalid):
            stripe_api().check_resource("customer", wrong)
