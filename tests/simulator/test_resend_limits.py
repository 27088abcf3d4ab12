"""What Resend does not take: too much at once, senders of another format; and what becomes of emails."""

from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from simulator import RESEND_KEY, SimulatorClient, SimulatorError
from simulator.resend_limits import Gate, Limits, ResendError
from simulator.shapes import DAY, Json

MESSAGE: Json = {
    "from": "Billing <billing@platform.example>",
    "to": ["someone@customer.example"],
    "subject": "Your payment did not go through",
    "text": "Hello",
}


@pytest.fixture
async def session(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {RESEND_KEY}"}) as made:
        yield made


async def send(session: aiohttp.ClientSession, **parts: object) -> tuple[int, Json]:
    async with session.post("/emails", json={**MESSAGE, **parts}) as answer:
        return answer.status, await answer.json()


def test_a_second_takes_so_many_requests_and_says_when_the_next_begins() -> None:
    now = 100.0
    gate = Gate(lambda: now)
    gate.limits = Limits(rate=2)
    assert gate.request() == {"ratelimit-limit": "2", "ratelimit-remaining": "1", "ratelimit-reset": "1"}
    now = 100.9
    assert gate.request()["ratelimit-remaining"] == "0"
    with pytest.raises(ResendError) as caught:
        gate.request()
    assert (caught.value.status, caught.value.body["name"]) == (429, "rate_limit_exceeded")
    assert caught.value.headers["retry-after"] == "1"
    now = 101.0
    assert gate.request()["ratelimit-remaining"] == "1"


def test_without_a_limit_nothing_is_counted() -> None:
    gate = Gate(lambda: 0.0)
    assert [gate.request() for _ in range(50)] == [{}] * 50


async def test_the_limit_is_in_the_headers_of_every_answer(
    session: aiohttp.ClientSession, control: SimulatorClient
) -> None:
    await control.set_resend_limits(rate=1_000)
    async with session.post("/emails", json=MESSAGE) as answer:
        assert (answer.status, answer.headers["ratelimit-limit"]) == (200, "1000")
    async with session.post("/emails", json={**MESSAGE, "subject": ""}) as answer:
        assert (answer.status, answer.headers["ratelimit-limit"]) == (422, "1000")
    await control.set_resend_limits(rate=0)
    async with session.post("/emails", json=MESSAGE) as answer:
        assert (answer.status, answer.headers["ratelimit-remaining"]) == (429, "0")
        assert int(answer.headers["retry-after"]) >= 1
    assert len(await control.outbox()) == 1


async def test_a_days_quota_ends_with_the_day(session: aiohttp.ClientSession, control: SimulatorClient) -> None:
    await control.set_resend_limits(daily_quota=1)
    assert (await send(session))[0] == 200
    status, body = await send(session)
    assert (status, body["name"]) == (429, "daily_quota_exceeded")
    await control.advance(DAY)
    assert (await send(session))[0] == 200


@pytest.mark.parametrize(
    "sender",
    [
        "billing@platform.example",
        "Billing <billing@platform.example>",
        '"Care Team, Billing" <billing@platform.example>',
        '"Bob \\"The Builder\\"" <billing@platform.example>',
        "Ünï Здравствуй 株式会社 <billing@platform.example>",
        '"Tom & Jerry\'s" <billing@platform.example>',
    ],
)
async def test_a_sender_in_resends_format_is_taken(sender: str, session: aiohttp.ClientSession) -> None:
    assert (await send(session, **{"from": sender}))[0] == 200


@pytest.mark.parametrize(
    "sender",
    [
        "Care Team, Billing <billing@platform.example>",
        'Bob "The Builder" <x@y.example> <billing@platform.example>',
        "Line\r\nBcc: evil@x.example <billing@platform.example>",
        '"Line\r\nBcc" <billing@platform.example>',
        "Billing <billing at platform>",
        f'"{"A" * 320}" <billing@platform.example>',
        f'"{"株" * 110}" <billing@platform.example>',
    ],
)
async def test_any_other_sender_is_refused(
    sender: str, session: aiohttp.ClientSession, control: SimulatorClient
) -> None:
    status, body = await send(session, **{"from": sender})
    assert (status, body["name"]) == (422, "validation_error")
    assert "`from`" in body["message"]
    assert await control.outbox() == []


async def test_an_address_that_bounced_is_suppressed_until_it_is_right(
    session: aiohttp.ClientSession, control: SimulatorClient
) -> None:
    got: list[Json] = []

    async def take(request: web.Request) -> web.Response:
        got.append(orjson.loads(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        await control.configure_resend_webhooks(url=str(server.make_url("/hook")))
        await control.set_mailbox("someone@customer.example", "bounces")
        await send(session)
        await send(session, to=["Someone <Someone@customer.example>"])
        await send(session, to="other@customer.example")
        told = await control.deliver_emails()
        assert await control.deliver_emails() == []
        await control.set_mailbox("someone@customer.example", "delivers")
        await send(session)
        told += await control.deliver_emails()
    kinds = ["email.bounced", "email.suppressed", "email.delivered", "email.delivered"]
    assert [each["type"] for each in told] == [each["type"] for each in got] == kinds
    assert [each["data"]["email_id"] for each in got] == [each["id"] for each in await control.outbox()]
    with pytest.raises(SimulatorError, match="explodes"):
        await control.set_mailbox("someone@customer.example", "explodes")
