"""Every request is checked: its key, its account, its address and each of its parameters."""

import pytest
import stripe

from simulator import SimulatorClient
from simulator.shapes import DAY
from tests.simulator.answers import details
from tests.simulator.conftest import MakeStripe


async def refusal(client: stripe.StripeClient, method: str, path: str, **params: object) -> stripe.StripeError:
    with pytest.raises(stripe.StripeError) as caught:
        await client.raw_request_async(method, path, **params)
    return caught.value


async def test_an_unknown_address_is_a_404(client: stripe.StripeClient) -> None:
    problem = await refusal(client, "get", "/v1/invioces")
    assert (problem.http_status, details(problem)["type"]) == (404, "invalid_request_error")


async def test_an_endpoint_that_is_not_imitated_says_so(client: stripe.StripeClient) -> None:
    problem = await refusal(client, "get", "/v1/balance")
    assert (problem.http_status, details(problem)["code"]) == (501, "not_imitated")


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"descripton": "x"}, "descripton"),
        ({"invoice_settings": {"default_paymentmethod": "pm_1"}}, "invoice_settings[default_paymentmethod]"),
        ({"address": {"citty": "Leeds"}}, "address[citty]"),
    ],
)
async def test_a_misspelled_parameter_is_refused_at_any_depth(
    params: dict[str, object],
    param: str,
    control: SimulatorClient,
    client: stripe.StripeClient,
    account: str,
) -> None:
    made = await control.add_customer(account)
    problem = await refusal(client, "post", f"/v1/customers/{made['customer']['id']}", **params)
    error = details(problem)
    assert (problem.http_status, error["code"], error["param"]) == (400, "parameter_unknown", param)


async def test_a_misspelled_query_parameter_is_refused(client: stripe.StripeClient) -> None:
    problem = await refusal(client, "get", "/v1/events", delivery_sucess="false")
    assert details(problem)["code"] == "parameter_unknown"


async def test_a_missing_parameter_is_named(client: stripe.StripeClient) -> None:
    problem = await refusal(client, "post", "/v1/billing/meter_events", event_name="sent")
    error = details(problem)
    assert (error["code"], error["param"]) == ("parameter_missing", "payload")


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("/v1/invoices", {"limit": "ten"}, "parameter_invalid_integer"),
        ("/v1/invoices", {"status": "opened"}, None),
        ("/v1/events", {"delivery_success": "maybe"}, None),
        ("/v1/events", {"created": {"gte": "now"}}, "parameter_invalid_integer"),
    ],
)
async def test_a_value_of_the_wrong_type_is_refused(
    path: str, params: dict[str, object], code: str | None, client: stripe.StripeClient
) -> None:
    problem = await refusal(client, "get", path, **params)
    assert problem.http_status == 400
    assert details(problem).get("code") == code


async def test_a_parameter_that_would_be_ignored_is_refused(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    with pytest.raises(stripe.APIError) as caught:
        await client.v1.subscriptions.update_async(made["subscription"]["id"], {"proration_behavior": "none"})
    assert details(caught.value)["code"] == "not_imitated"


async def test_a_wrong_key_is_a_401(make_stripe: MakeStripe) -> None:
    with pytest.raises(stripe.AuthenticationError):
        await make_stripe(key="sk_test_wrong").v1.invoices.list_async()


async def test_an_account_that_never_connected_is_a_403(control: SimulatorClient, make_stripe: MakeStripe) -> None:
    stranger = (await control.add_account())["id"]
    for unknown in (stranger, "acct_nobody"):
        with pytest.raises(stripe.PermissionError) as caught:
            await make_stripe(unknown).v1.invoices.list_async()
        assert details(caught.value)["code"] == "account_invalid"


async def test_another_accounts_objects_do_not_exist(
    control: SimulatorClient, make_stripe: MakeStripe, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    other = make_stripe((await control.add_account(connected=True))["id"])
    for verb in (other.v1.invoices.retrieve_async, other.v1.invoices.pay_async):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await verb(made["invoice"]["id"])
        assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    assert len(await control.attempts()) == 1


async def test_the_request_log_has_what_a_test_asks_about(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    await client.v1.invoices.pay_async(made["invoice"]["id"], {"off_session": True}, {"idempotency_key": "k"})
    (entry,) = await control.requests(method="POST")
    assert entry["path"] == f"/v1/invoices/{made['invoice']['id']}/pay"
    assert entry["params"] == {"off_session": True}
    assert (entry["idempotency_key"], entry["account"], entry["status"]) == ("k", account, 200)
    assert entry["version"] == stripe.api_version
    assert await control.requests(since=entry["seq"]) == []


async def test_five_levels_of_expansion_are_refused_and_four_are_not(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    invoice, deep = made["invoice"]["id"], "payments.data.payment.payment_intent.latest_charge"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.invoices.retrieve_async(invoice, {"expand": [deep]})
    assert caught.value.code == "property_expansion_max_depth"
    (payment,) = (
        await client.v1.invoice_payments.list_async(
            {"invoice": invoice, "expand": ["data.payment.payment_intent.latest_charge"]}
        )
    ).data
    assert payment.to_dict()["payment"]["payment_intent"]["latest_charge"]["status"] == "failed"


async def test_a_wrong_expansion_is_refused_before_money_moves(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    for wrong in ("payment_intent", "payments.data.payment.payment_intent.latest_charge"):
        with pytest.raises(stripe.InvalidRequestError):
            await client.v1.invoices.pay_async(made["invoice"]["id"], {"expand": [wrong]})
    assert await control.charges() == []


async def test_fields_that_basil_removed_cannot_be_expanded(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    for gone in ("payment_intent", "charge", "subscription"):
        with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
            await client.v1.invoices.retrieve_async(made["invoice"]["id"], {"expand": [gone]})
    with pytest.raises(stripe.InvalidRequestError, match=r"data\.customer"):
        await client.v1.invoices.list_async({"expand": ["customer"]})


async def test_an_invoice_has_its_payments_only_when_asked(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    plain = await client.v1.invoices.retrieve_async(made["invoice"]["id"])
    asked = await client.v1.invoices.retrieve_async(
        made["invoice"]["id"],
        {"expand": ["payments", "customer", "parent.subscription_details.subscription"]},
    )
    assert "payments" not in plain.to_dict()
    shown = asked.to_dict()
    assert shown["payments"]["data"][0]["status"] == "paid"
    assert shown["customer"]["email"] in await control.pii()
    assert shown["parent"]["subscription_details"]["subscription"]["status"] == "active"


async def test_events_are_listed_by_type_time_and_account(
    control: SimulatorClient, client: stripe.StripeClient, make_stripe: MakeStripe, account: str
) -> None:
    await control.add_renewal(account)
    await control.advance(60)
    await control.add_renewal(account)
    wanted = await client.v1.events.list_async({"types": ["invoice.paid", "charge.succeeded"]})
    assert [event.type for event in wanted.data] == ["invoice.paid", "charge.succeeded"] * 2
    recent = await client.v1.events.list_async({"type": "invoice.paid", "created": {"gte": await control.now()}})
    assert [event.id for event in recent.data] == [wanted.data[0].id]
    assert (await make_stripe().v1.events.list_async()).data == []
    await control.advance(30 * DAY + 1)
    late = await client.v1.events.list_async({"type": "charge.succeeded"})
    assert late.data == []


async def test_lists_are_paged_newest_first_in_both_directions(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = [(await control.add_renewal(account))["invoice"]["id"] for _ in range(5)]
    newest = made[::-1]
    listed = client.v1.invoices.list_async
    first = await listed({"limit": 2})
    assert ([item.id for item in first.data], first.has_more) == (newest[:2], True)
    second = await listed({"limit": 2, "starting_after": newest[1]})
    assert [item.id for item in second.data] == newest[2:4]
    back = await listed({"limit": 2, "ending_before": newest[4]})
    assert ([item.id for item in back.data], back.has_more) == (newest[2:4], True)
    everything = [item.id async for item in (await listed({"limit": 2})).auto_paging_iter()]
    assert everything == newest
