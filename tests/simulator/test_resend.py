"""Emails are checked, kept once a key, and read by customers who react."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import stripe

from simulator import RESEND_KEY, SimulatorClient
from simulator.shapes import DAY, HOUR, Json

MESSAGE: Json = {
    "from": "Billing <billing@platform.example>",
    "to": ["someone@customer.example"],
    "subject": "Your payment did not go through",
    "html": "<p>Hello</p>",
    "headers": {"X-Entity-Ref-ID": "recovery-1"},
    "tags": [{"name": "kind", "value": "dunning"}],
}


@pytest.fixture
async def session(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {RESEND_KEY}"}
    async with aiohttp.ClientSession(url, headers=headers) as made:
        yield made


async def send(session: aiohttp.ClientSession, message: Json, key: str | None = None) -> tuple[int, Json]:
    headers = {"Idempotency-Key": key} if key is not None else {}
    async with session.post("/emails", json=message, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_an_email_lands_in_the_outbox(session: aiohttp.ClientSession, control: SimulatorClient) -> None:
    status, body = await send(session, MESSAGE, "k")
    (email,) = await control.outbox()
    assert (status, body["id"]) == (200, email["id"])
    assert email["message"] == MESSAGE
    assert email["idempotency_key"] == "k"


async def test_a_repeated_key_sends_once_and_another_payload_is_refused(
    session: aiohttp.ClientSession, control: SimulatorClient
) -> None:
    first, again = await send(session, MESSAGE, "k"), await send(session, MESSAGE, "k")
    assert first == again
    status, body = await send(session, {**MESSAGE, "subject": "Other"}, "k")
    assert (status, body["name"]) == (409, "invalid_idempotent_request")
    assert len(await control.outbox()) == 1
    await control.advance(DAY)
    await send(session, MESSAGE, "k")
    assert len(await control.outbox()) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": None},
        {"to": "nobody"},
        {"subject": ""},
        {"subjet": "x"},
        {"headers": ["X-Entity-Ref-ID"]},
        {"tags": [{"name": "a b", "value": "c"}]},
    ],
)
async def test_a_wrong_email_is_refused(wrong: Json, session: aiohttp.ClientSession, control: SimulatorClient) -> None:
    status, body = await send(session, {**MESSAGE, **wrong})
    assert (status, body["name"]) == (422, "validation_error")
    assert await control.outbox() == []


async def test_an_email_without_a_body_is_refused(session: aiohttp.ClientSession) -> None:
    status, _ = await send(session, {name: part for name, part in MESSAGE.items() if name != "html"})
    assert status == 422


@pytest.mark.parametrize(("header", "status"), [(None, 401), ("Bearer re_wrong", 403)])
async def test_the_key_is_checked(header: str | None, status: int, url: str) -> None:
    headers = {"Authorization": header} if header else {}
    async with (
        aiohttp.ClientSession(headers=headers) as stranger,
        stranger.post(f"{url}/emails", json=MESSAGE) as answer,
    ):
        assert answer.status == status


async def test_a_customer_pays_on_the_hosted_page_after_the_email(
    session: aiohttp.ClientSession, control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(
        account, card={"decline": "lost_card"}, reaction={"kind": "pay", "delay": 2 * HOUR}
    )
    link = made["invoice"]["hosted_invoice_url"]
    await send(session, {**MESSAGE, "html": f"<a href='{link}'>Pay</a>"})
    await control.advance(2 * HOUR - 1)
    assert await control.charges() == []
    await control.advance(1)
    (charge,) = await control.charges()
    assert (charge["source"], charge["invoice"]) == ("hosted_page", made["invoice"]["id"])
    kinds = [event["type"] for event in await control.events()]
    assert "payment_method.attached" in kinds
    assert "customer.updated" in kinds


async def test_a_customer_may_need_a_second_email(
    session: aiohttp.ClientSession, control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(
        account, card={"decline": "lost_card"}, reaction={"kind": "pay", "delay": 60, "on_email": 2}
    )
    for paid in (0, 1):
        await send(session, {**MESSAGE, "text": made["invoice"]["hosted_invoice_url"]})
        await control.advance(60)
        assert len(await control.charges()) == paid


async def test_a_customer_authenticates_after_the_email(
    session: aiohttp.ClientSession, control: SimulatorClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"needs_3ds": True}, reaction={"kind": "authenticate", "delay": 60})
    await send(session, {**MESSAGE, "text": made["invoice"]["hosted_invoice_url"]})
    await control.advance(60)
    assert (await control.object(made["invoice"]["id"]))["status"] == "paid"
    attempts = await control.attempts(made["invoice"]["id"])
    assert [entry["outcome"] for entry in attempts] == ["requires_action", "succeeded"]


async def test_a_new_card_in_the_portal_is_announced_and_charged_only_by_whom_it_concerns(
    session: aiohttp.ClientSession,
    control: SimulatorClient,
    account: str,
    client: stripe.StripeClient,
) -> None:
    made = await control.add_renewal(
        account,
        card={"decline": "expired_card"},
        own_method=True,
        reaction={"kind": "new_card", "delay": 60},
    )
    portal = await client.v1.billing_portal.sessions.create_async({"customer": made["customer"]["id"]})
    await send(session, {**MESSAGE, "text": portal.url})
    await control.advance(60)
    assert await control.charges() == []
    subscription = await client.v1.subscriptions.retrieve_async(made["subscription"]["id"])
    assert subscription.default_payment_method != made["payment_method"]["id"]
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "paid"


@pytest.mark.parametrize(("after_expiration", "opens"), [(None, False), ({"type": "customer_login"}, True)])
async def test_a_portal_s_link_dies_within_minutes_unless_its_customer_may_log_in(
    session: aiohttp.ClientSession,
    control: SimulatorClient,
    account: str,
    client: stripe.StripeClient,
    after_expiration: Json | None,
    opens: bool,
) -> None:
    made = await control.add_renewal(
        account, card={"decline": "lost_card"}, reaction={"kind": "new_card", "delay": HOUR}
    )
    customer = made["customer"]["id"]
    asked: Json = {"customer": customer} | ({"after_expiration": after_expiration} if after_expiration else {})
    portal = await client.v1.billing_portal.sessions.create_async(asked)  # type: ignore[arg-type]  # made of parts
    await send(session, {**MESSAGE, "text": portal.url})
    await control.advance(HOUR)
    settings = (await control.object(customer))["invoice_settings"]
    assert (settings["default_payment_method"] != made["payment_method"]["id"]) == opens


@pytest.mark.parametrize(("kind", "source"), [("pay", ["hosted_page"]), ("new_card", [])])
async def test_an_email_with_two_links_is_one_email_and_each_customer_takes_the_one_that_suits(
    session: aiohttp.ClientSession,
    control: SimulatorClient,
    account: str,
    client: stripe.StripeClient,
    kind: str,
    source: list[str],
) -> None:
    reaction = {"kind": kind, "delay": 60, "on_email": 2}
    made = await control.add_renewal(account, card={"decline": "lost_card"}, reaction=reaction)
    portal = await client.v1.billing_portal.sessions.create_async({"customer": made["customer"]["id"]})
    both = f"{portal.url} {made['invoice']['hosted_invoice_url']}"
    await send(session, {**MESSAGE, "text": both})
    await control.advance(60)
    methods = (await control.object(made["customer"]["id"]))["invoice_settings"]["default_payment_method"]
    assert methods == made["payment_method"]["id"]
    await send(session, {**MESSAGE, "text": both})
    await control.advance(60)
    assert [each["source"] for each in await control.charges()] == source


async def test_a_renewal_is_announced_as_many_days_ahead_as_the_account_has_set(
    control: SimulatorClient, account: str
) -> None:
    await control.change_account(account, upcoming_days=3)
    made = await control.add_customer(account, card={})
    await control.add_subscription(account, made["customer"]["id"], renews_in=10 * DAY)
    await control.advance(7 * DAY - 1)
    assert await control.events(type="invoice.upcoming") == []
    await control.advance(1)
    assert len(await control.events(type="invoice.upcoming")) == 1
