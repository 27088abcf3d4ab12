"""Bounces, complaints and customers who unsubscribe: what they end, what they leave alone, and what is never kept."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from itertools import count
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiohttp import ClientResponse
from prometheus_client import REGISTRY

from services.ingress.mail import svix
from services.ingress.mail.pages import language_of
from shared.database import Database
from shared.ids import CustomerId, RecoveryId
from shared.recovery_model import RecoveryState
from shared.unsubscribe import Recipient, UnsubscribePages
from simulator.resend_webhooks import signature
from tests.integration.ingress.test_effects import queue_message
from tests.integration.ingress.world import RESEND_SECRETS, UNSUBSCRIBE_SECRET, World

CUSTOMER = CustomerId("cus_1")
ADDRESS = "erika.mustermann@customer.example"
SILENCED = "SELECT customer_id, reason FROM silenced_customers ORDER BY customer_id, reason"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}

_numbers = count(1)


def bounce(world: World, recovery_id: RecoveryId | None = None, **changes: Any) -> dict[str, Any]:
    """An event about an email of ours, as Resend writes it."""
    tags = {"kind": "payment_failed", "message": str(uuid4()), "merchant": world.merchant_id, "customer": "cus_1"}
    if recovery_id is not None:
        tags["recovery"] = str(recovery_id)
    return {
        "type": "email.bounced",
        "created_at": "2026-11-22T23:41:12.126Z",
        "data": {
            "email_id": "56761188-7520-42d8-8898-ff6fc54ce618",
            "from": "Fjord <billing@platform.example>",
            "to": [ADDRESS],
            "subject": "Your payment did not go through",
            "bounce": {"type": "Permanent", "subType": "General", "message": f"550 {ADDRESS} unknown"},
            "tags": tags,
            **changes.pop("data", {}),
        },
        **changes,
    }


async def post(
    world: World, event: Any, message_id: str | None = None, *, secret: str = RESEND_SECRETS[0], age: int = 0
) -> ClientResponse:
    """Post an event, signed as Resend does."""
    body = event if isinstance(event, bytes) else orjson.dumps(event)
    message_id, at = message_id or f"msg_{next(_numbers)}", int(time.time()) - age
    headers = {
        "svix-id": message_id,
        "svix-timestamp": str(at),
        "svix-signature": f"v1,{signature(secret, message_id, at, body)}",
    }
    return await world.client.post("/webhooks/resend", data=body, headers=headers)


async def outcome(response: ClientResponse) -> str:
    assert response.status == 200, await response.text()
    found: str = (await response.json())["outcome"]
    return found


async def waiting(world: World) -> RecoveryId:
    """A recovery with a message ahead."""
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    await queue_message(world, recovery_id)
    return recovery_id


async def silenced(world: World) -> list[tuple[str, str]]:
    return [tuple(row) for row in await world.rows(SILENCED)]


# -- what Resend tells -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "bounced"),
        ({"data": {"bounce": None}}, "bounced"),
        ({"type": "email.suppressed"}, "bounced"),
        ({"type": "email.complained"}, "complained"),
    ],
)
async def test_a_bounce_or_a_complaint_ends_the_messages_and_not_the_recovery(
    world: World, changes: dict[str, Any], reason: str
) -> None:
    recovery_id = await waiting(world)
    assert await outcome(await post(world, bounce(world, recovery_id, **changes))) == "silenced"
    assert await silenced(world) == [("cus_1", reason)]
    assert await world.tasks() == [("dunning_retry", "pending", False), ("notify_action_required", "canceled", False)]
    assert (await world.recovery())["state"] == "waiting"
    assert await world.story() == ["renewal_failed", reason]


@pytest.mark.parametrize("kind", ["Transient", "Undetermined"])
async def test_a_full_mailbox_is_told_and_the_next_message_goes_out(world: World, kind: str) -> None:
    recovery_id = await waiting(world)
    assert await outcome(await post(world, bounce(world, recovery_id, data={"bounce": {"type": kind}}))) == "told"
    assert await silenced(world) == []
    assert ("notify_action_required", "pending", False) in await world.tasks()
    assert await world.story() == ["renewal_failed", "bounced_for_now"]


@pytest.mark.parametrize("kind", ["email.delivered", "email.opened", "email.sent", "contact.created"])
async def test_other_news_change_nothing_and_are_not_kept(world: World, kind: str) -> None:
    await waiting(world)
    assert await outcome(await post(world, bounce(world, type=kind))) == "ignored"
    assert await world.value("SELECT count(*) FROM processed_events WHERE event_id LIKE 'msg_%'") == 0


@pytest.mark.parametrize(
    "tags",
    [
        None,
        {},
        [],
        "x",
        {"merchant": "nobody", "customer": "cus_1"},
        {"customer": "cus_1"},
        [{"name": ["x"], "value": 1}, 7],
        {"merchant": "0b2b2d5e-6a53-4d8f-8f3f-8a9d3f1f0c11", "customer": ADDRESS},
    ],
)
async def test_an_email_that_is_not_ours_is_left_alone(world: World, tags: Any) -> None:
    await waiting(world)
    assert await outcome(await post(world, bounce(world, data={"tags": tags}))) == "ignored"
    assert await silenced(world) == []


async def test_tags_may_come_as_a_list(world: World) -> None:
    event = bounce(world)
    event["data"]["tags"] = [{"name": name, "value": value} for name, value in event["data"]["tags"].items()]
    assert await outcome(await post(world, event)) == "silenced"


async def test_a_repeat_and_a_second_event_about_one_fact_have_one_effect(world: World) -> None:
    recovery_id = await waiting(world)
    event = bounce(world, recovery_id)
    assert await outcome(await post(world, event, "msg_same")) == "silenced"
    assert await outcome(await post(world, event, "msg_same")) == "duplicate"
    assert await outcome(await post(world, event, "msg_other")) == "duplicate"
    assert await world.story() == ["renewal_failed", "bounced"]


async def test_events_at_the_same_moment_have_one_effect(world: World) -> None:
    recovery_id = await waiting(world)
    answers = await asyncio.gather(*(post(world, bounce(world, recovery_id)) for _ in range(12)))
    assert sorted([await outcome(answer) for answer in answers]) == ["duplicate"] * 11 + ["silenced"]
    assert await world.story() == ["renewal_failed", "bounced"]


@pytest.mark.parametrize(
    ("changes", "status", "type_"),
    [
        ({"secret": "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldA=="}, 400, "bad-signature"),
        ({"age": 400}, 400, "bad-signature"),
        ({"event": b"{"}, 400, "not-an-event"),
        ({"event": b"[]"}, 400, "not-an-event"),
        ({"event": b'{"type": "email.bounced"}'}, 400, "not-an-event"),
        ({"event": b'{"type": "' + b"x" * 70_000 + b'"}'}, 413, "too-large"),
    ],
)
async def test_what_is_no_event_of_resends_is_refused(
    world: World, changes: dict[str, Any], status: int, type_: str
) -> None:
    response = await post(world, **{"event": bounce(world), **changes})
    assert (response.status, (await response.json())["type"]) == (status, f"urn:citadel:problem:{type_}")
    assert await silenced(world) == []


@pytest.mark.parametrize("length", [70_000, 3_000_000])
async def test_a_body_that_does_not_say_how_long_it_is_is_refused_when_it_turns_out_too_long(
    world: World, length: int
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(0, length, 10_000):
            yield b"x" * 10_000

    before = _too_large()
    response = await world.client.post("/webhooks/resend", data=chunks())
    assert (response.status, (await response.json())["type"]) == (413, "urn:citadel:problem:too-large")
    assert _too_large() == before + 1


def _too_large() -> float:
    return REGISTRY.get_sample_value("citadel_mail_refused_total", {"reason": "too-large"}) or 0


async def test_the_new_secret_works_beside_the_old(world: World) -> None:
    assert await outcome(await post(world, bounce(world), secret=RESEND_SECRETS[1])) == "silenced"


async def test_no_address_is_kept_or_logged(
    world: World, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    recovery_id = await waiting(world)
    await post(world, bounce(world, recovery_id))
    await post(world, bounce(world, recovery_id, data={"tags": {"customer": ADDRESS, "merchant": world.merchant_id}}))
    tables = await world.rows(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    for row in tables:
        table = row["relname"]
        held = await world.rows(f"SELECT t::text AS row FROM {table} AS t")  # noqa: S608 - a name out of the catalog
        assert [each["row"] for each in held if "mustermann" in each["row"]] == []
    assert "mustermann" not in "".join(capsys.readouterr())


async def test_another_address_is_written_to_again_unless_the_customer_said_no(world: World) -> None:
    await waiting(world)
    await post(world, bounce(world))
    changed = {"id": "cus_1", "object": "customer"}
    await world.happen("customer.updated", changed, {"name": "x"})
    assert await silenced(world) == [("cus_1", "bounced")]
    await world.happen("customer.updated", changed, {"email": "old@customer.example"})
    assert await silenced(world) == []
    await world.client.post(link(world))
    await post(world, bounce(world, type="email.complained"))
    await world.happen("customer.updated", changed, {"email": "old@customer.example"})
    assert await silenced(world) == [("cus_1", "complained"), ("cus_1", "opted_out")]


# -- who unsubscribes --------------------------------------------------------------------------------------------------


def link(world: World, customer_id: CustomerId = CUSTOMER, secret: str = UNSUBSCRIBE_SECRET) -> str:
    pages = UnsubscribePages((secret.encode(),), "")
    return pages.address(Recipient(world.merchant_id, customer_id))


async def test_looking_at_the_page_changes_nothing(world: World) -> None:
    await waiting(world)
    for method in ("GET", "HEAD"):
        response = await world.client.request(method, link(world))
        assert response.status == 200
    assert await silenced(world) == []
    assert ("notify_action_required", "pending", False) in await world.tasks()


@pytest.mark.parametrize("body", [ONE_CLICK, {}])
async def test_one_click_ends_the_messages_and_not_the_recovery(world: World, body: dict[str, str]) -> None:
    await waiting(world)
    response = await world.client.post(link(world), data=body, allow_redirects=False)
    assert response.status == 200
    assert await silenced(world) == [("cus_1", "opted_out")]
    assert await world.tasks() == [("dunning_retry", "pending", False), ("notify_action_required", "canceled", False)]
    assert await world.story() == ["renewal_failed", "opted_out"]
    assert (await world.client.post(link(world), data=body)).status == 200
    assert await world.story() == ["renewal_failed", "opted_out"]


async def test_the_page_s_own_button_works_without_a_script(world: World) -> None:
    page = await (await world.client.get(link(world), headers={"Accept-Language": "de"})).text()
    assert re.search(r'<form method="post"><button>Abbestellen</button></form>', page)
    assert "<script" not in page
    done = await world.client.post(link(world), headers={"Accept-Language": "ja"})
    assert "配信を停止しました" in await done.text()
    assert "script" not in done.headers["Content-Security-Policy"]


async def test_a_customer_ends_the_messages_of_one_merchant(world: World) -> None:
    other = await world.connect("acct_2")
    await world.client.post(link(world))
    rows = await world.rows("SELECT merchant_id FROM silenced_customers")
    assert [row["merchant_id"] for row in rows] == [world.merchant_id]
    assert other != world.merchant_id


@pytest.mark.parametrize(
    "damage", [lambda token: token[:-1], lambda token: "x" + token, lambda token: "x", lambda token: "é"]
)
async def test_a_link_that_we_did_not_make_is_refused(world: World, damage: Any) -> None:
    await waiting(world)
    path, _, token = link(world).rpartition("/")
    for method in ("GET", "POST"):
        assert (await world.client.request(method, f"{path}/{damage(token)}")).status == 404
    forged = link(world, secret="another secret of at least thirty-two bytes")
    assert (await world.client.post(forged)).status == 404
    assert await silenced(world) == []


async def test_who_unsubscribes_waits_for_a_message_that_is_being_decided(world: World) -> None:
    """Either the message is decided first, or it finds the customer silenced: the recovery's lock is between them."""
    recovery_id = await waiting(world)
    async with world.database.transaction() as db:
        await db.execute("SELECT FROM recoveries WHERE id = $1 FOR UPDATE", recovery_id)
        clicking = asyncio.create_task(world.client.post(link(world)))
        await world.until_someone_waits_for_a_lock()
        assert await db.fetchval("SELECT count(*) FROM silenced_customers") == 0
    assert (await clicking).status == 200
    assert await silenced(world) == [("cus_1", "opted_out")]


async def test_an_attempt_in_flight_is_left_alone(world: World) -> None:
    recovery_id = await waiting(world)
    await world.move(recovery_id, RecoveryState.ATTEMPTING)
    await world.client.post(link(world))
    row = await world.recovery()
    assert (row["state"], row["stop_requested"]) == ("attempting", None)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("sv, ja;q=0.5, fr;q=0.7", "fr"),
        ("pt-BR", "pt"),
        ("de;q=0, es", "es"),
        ("*;q=x,,;", "en"),
        ("x" * 10_000, "en"),
    ],
)
def test_the_page_is_in_the_reader_s_language(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


def test_the_simulator_signs_as_svix_does() -> None:
    """The two are written apart, each from Svix's document."""
    body, secret = b"{}", RESEND_SECRETS[0]
    headers = {
        "svix-id": "msg_1",
        "svix-timestamp": "100",
        "svix-signature": f"v1,{signature(secret, 'msg_1', 100, body)}",
    }
    assert svix.verify(body, headers, [svix.key_of(secret)], now=100, tolerance_seconds=1) == "msg_1"
