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
