"""Keys that may not do everything, and what an endpoint refuses, seen through the real SDK."""

import pytest
import stripe

from simulator import PLATFORM, SECRET_KEY, SimulatorClient, SimulatorError
from simulator.refusals import REFUSALS
from simulator.shapes import HOUR
from simulator.validation import stripe_api
from tests.simulator.answers import details, headers, replayed
from tests.simulator.conftest import MakeStripe


async def payable(control: SimulatorClient, account: str) -> str:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    return str(made["invoice"]["id"])


async def test_a_restricted_key_is_told_which_permission_it_lacks(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    invoice = await payable(control, account)
    await control.add_barrier("permission", path="/v1/charges*", permission="rak_charge_read")
    with pytest.raises(stripe.PermissionError) as caught:
        await client.v1.charges.list_async()
    error = details(caught.value)
    assert caught.value.http_status == 403
    assert (error["type"], error["code"]) == ("invalid_request_error", "more_permissions_required")
    assert f"on account '{account}'. Having the 'rak_charge_read' permission" in error["message"]
    assert SECRET_KEY not in error["message"]
    stripe_api().check_resource("error", {"error": error})
    assert (await client.v1.invoices.pay_async(invoice)).status == "paid"


async def test_an_older_403_has_no_code_and_a_read_only_grant_no_name(
    control: SimulatorClient, client: stripe.StripeClient
) -> None:
    await control.add_barrier("permission", method="POST", code="")
    with pytest.raises(stripe.PermissionError, match="Having more permissions would") as caught:
        await client.v1.customers.update_async("cus_1", {"name": "x"})
    assert "code" not in details(caught.value)


async def test_a_forbidden_pay_saves_nothing_and_the_same_key_pays_once_it_is_allowed(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    invoice = await payable(control, account)
    await control.add_barrier("permission", path="*/pay", seconds=HOUR)
    with pytest.raises(stripe.PermissionError):
        await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert await control.charges() == []
    await control.advance(HOUR)
    paid = await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert (paid.status, replayed(paid)) == ("paid", False)


async def test_a_saved_answer_is_not_given_to_a_key_without_access(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    invoice = await payable(control, account)
    await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    await control.add_barrier("account_invalid", account=account)
    with pytest.raises(stripe.PermissionError) as caught:
        await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert details(caught.value)["code"] == "account_invalid"
    await control.clear_barriers()
    assert replayed(await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"}))


async def test_a_barrier_is_one_accounts_or_the_platforms(
    control: SimulatorClient, make_stripe: MakeStripe, account: str
) -> None:
    await control.add_barrier("account_invalid", account=account)
    platform, other = make_stripe(), make_stripe((await control.add_account(connected=True))["id"])
    await platform.v1.customers.list_async()
    await other.v1.customers.list_async()
    with pytest.raises(stripe.PermissionError):
        await make_stripe(account).v1.customers.list_async()
    await control.clear_barriers()
    await control.add_barrier("permission", account=PLATFORM)
    await make_stripe(account).v1.customers.list_async()
    with pytest.raises(stripe.PermissionError):
        await platform.v1.customers.list_async()


async def test_an_expired_key_is_a_401(control: SimulatorClient, client: stripe.StripeClient) -> None:
    barrier = await control.add_barrier("expired_key")
    with pytest.raises(stripe.AuthenticationError) as caught:
        await client.v1.customers.list_async()
    assert details(caught.value)["code"] == "api_key_expired"
    assert details(caught.value)["message"].startswith("Expired API Key provided: sk_test_*")
    await control.clear_barriers(barrier["id"])
    await control.add_barrier("invalid_key", times=1)
    with pytest.raises(stripe.AuthenticationError):
        await client.v1.customers.list_async()
    await client.v1.customers.list_async()
    assert [each["hits"] for each in await control.barriers()] == [1]


async def test_a_key_of_the_other_mode_finds_nothing(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    await control.add_barrier("wrong_mode", account=account)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.invoices.retrieve_async(made["invoice"]["id"])
    error = details(caught.value)
    assert (caught.value.http_status, error["code"]) == (404, "resource_missing")
    assert error["message"] == (
        f"No such invoice: '{made['invoice']['id']}'; a similar object exists in live mode, but a test mode key was "
        "used to make this request."
    )
    with pytest.raises(stripe.InvalidRequestError, match="similar object exists in live mode") as asked:
        await client.v1.charges.list_async({"customer": made["customer"]["id"]})
    assert (asked.value.http_status, asked.value.param) == (400, "customer")
    assert (await client.v1.invoices.list_async()).data == []
    assert (await client.v1.accounts.retrieve_current_async()).id == account


@pytest.mark.parametrize(
    ("kind", "ident", "param"), [("customer", "cus_gone", "customer"), ("PaymentMethod", "pm_gone", "payment_method")]
)
async def test_something_else_than_the_invoice_can_be_missing(
    kind: str, ident: str, param: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    invoice = await payable(control, account)
    await control.add_barrier("missing", path="*/pay", object=kind, missing=ident, param=param)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.invoices.pay_async(invoice)
    error = details(caught.value)
    assert (caught.value.http_status, error["code"], error["param"]) == (404, "resource_missing", param)
    assert error["message"] == f"No such {kind}: '{ident}'"
    assert (await client.v1.invoices.retrieve_async(invoice)).status == "open"


@pytest.mark.parametrize("code", sorted(REFUSALS))
async def test_pay_refuses_by_code_without_an_attempt_and_keeps_a_400(
    code: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    invoice = await payable(control, account)
    before = await control.attempts()
    await control.refuse_pay(code, times=1)
    with pytest.raises(stripe.StripeError) as caught:
        await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    error, known = details(caught.value), REFUSALS[code]
    assert (caught.value.http_status, error["code"], error["type"]) == (known.status, code, known.type)
    stripe_api().check_resource("error", {"error": error})
    assert await control.attempts() == before
    if known.status == 429:
        assert (await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})).status == "paid"
        return
    with pytest.raises(stripe.StripeError) as again:
        await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert headers(again.value)["Idempotent-Replayed"] == "true"
    assert (await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "other"})).status == "paid"


async def test_any_other_refusal_can_be_worded(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    invoice = await payable(control, account)
    await control.refuse_pay(None, message="Something else is wrong.", skip=1)
    assert (await client.v1.invoices.pay_async(invoice)).status == "paid"
    with pytest.raises(stripe.InvalidRequestError, match="Something else is wrong"):
        await client.v1.invoices.pay_async(invoice)
    with pytest.raises(SimulatorError, match="amount_too_smal"):
        await control.refuse_pay("amount_too_smal")
    with pytest.raises(SimulatorError, match="moat"):
        await control.add_barrier("moat")


async def test_a_restricted_account_charges_nothing_until_it_is_lifted(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    await control.change_account(account, stripe_retries=[3, 3])
    invoice = await payable(control, account)
    restricted = await control.restrict(account)
    assert restricted["requirements"]["disabled_reason"] == "requirements.past_due"
    with pytest.raises(stripe.InvalidRequestError, match="cannot currently make charges"):
        await client.v1.invoices.pay_async(invoice)
    assert (await control.pay_hosted(invoice))["error"]["message"] == "Your account cannot currently make charges."
    await control.advance(3 * 24 * HOUR)
    assert (await client.v1.invoices.retrieve_async(invoice)).attempt_count == 2
    assert await control.charges() == []
    assert not (await client.v1.accounts.retrieve_current_async()).charges_enabled
    await control.restrict(account, charges=True)
    assert (await client.v1.invoices.pay_async(invoice)).status == "paid"
    assert len(await control.events(type="account.updated")) == 2


async def test_a_merchant_who_left_connects_again(
    control: SimulatorClient, client: stripe.StripeClient, make_stripe: MakeStripe, account: str
) -> None:
    invoice = await payable(control, account)
    await control.deauthorize(account)
    with pytest.raises(stripe.PermissionError):
        await client.v1.invoices.retrieve_async(invoice)
    grant = await control.reconnect(account)
    assert (grant["stripe_user_id"], grant["scope"]) == (account, "read_write")
    assert (await client.v1.invoices.retrieve_async(invoice)).status == "open"
    assert (await make_stripe(key=grant["access_token"]).v1.invoices.retrieve_async(invoice)).id == invoice
    kinds = [event["type"] for event in await control.events(account=account)]
    assert kinds[-2:] == ["account.application.deauthorized", "account.application.authorized"]
