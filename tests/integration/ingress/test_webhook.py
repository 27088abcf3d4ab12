"""The edge: who is let in, and what is answered when."""

import asyncio
import gzip
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse

from console.local.postgres import EmbeddedPostgres
from shared.database import Database, Role
from shared.http import serving
from shared.migrations import upgrade
from tests.conftest import OpenDatabase
from tests.integration.ingress.world import ACCOUNT, LIMIT, SECRETS, World, app_for, client_for, new_id, signed
from tests.unit.shared.events.examples import event_of, invoice
from tests.waiting import PATIENCE_S, until


def failed(event_id: str | None = None) -> dict[str, Any]:
    event: dict[str, Any] = event_of("invoice.payment_failed", invoice(), id=event_id or new_id(), account=ACCOUNT)
    return event


async def problem(response: ClientResponse) -> str:
    assert response.content_type == "application/problem+json"
    kind: str = orjson.loads(await response.read())["type"]
    return kind.removeprefix("urn:citadel:problem:")


async def assert_nothing_was_taken(world: World) -> None:
    assert await world.value("SELECT count(*) FROM processed_events") == 0
    assert await world.value("SELECT count(*) FROM recoveries") == 0


@pytest.mark.parametrize("secret", SECRETS)
async def test_either_secret_is_good_while_they_are_rotated(world: World, secret: str) -> None:
    body = orjson.dumps(failed())
    response = await world.send(body, signed(body, secret))
    assert (response.status, await response.json()) == (200, {"received": True})


async def test_two_signatures_in_one_header_need_only_one_that_is_good(world: World) -> None:
    body = orjson.dumps(failed())
    theirs, ours = signed(body, "whsec_other"), signed(body, SECRETS[1])
    response = await world.send(body, f"{theirs},{ours.partition(',')[2]}")
    assert response.status == 200


async def test_a_missing_signature_is_refused(world: World) -> None:
    response = await world.client.post("/webhooks/stripe", data=orjson.dumps(failed()))
    assert (response.status, await problem(response)) == (400, "bad-signature")
    await assert_nothing_was_taken(world)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        "t=1",
        "t=,v1=",
        "v1=abc",
        "t=now,v1=abc",
        "t=1,v1=é",
        "t=1,v0=abc",
        "t" * 8000,
        "t=" + "9" * 5000 + ",v1=a",
    ],
)
async def test_a_header_that_is_no_signature_is_refused(world: World, header: str) -> None:
    response = await world.send(orjson.dumps(failed()), header)
    assert (response.status, await problem(response)) == (400, "bad-signature")
    await assert_nothing_was_taken(world)


async def test_a_signature_by_another_secret_is_refused(world: World) -> None:
    body = orjson.dumps(failed())
    response = await world.send(body, signed(body, "whsec_other"))
    assert (response.status, await problem(response)) == (400, "bad-signature")
    await assert_nothing_was_taken(world)


async def test_a_body_that_was_tampered_with_is_refused(world: World) -> None:
    body = orjson.dumps(failed())
    response = await world.send(body.replace(b"2000", b"9000"), signed(body))
    assert (response.status, await problem(response)) == (400, "bad-signature")
    await assert_nothing_was_taken(world)


async def test_a_signature_is_good_for_five_minutes_and_no_longer(world: World) -> None:
    body = orjson.dumps(failed())
    assert (await world.send(body, signed(body, age=310))).status == 400
    await assert_nothing_was_taken(world)
    assert (await world.send(body, signed(body, age=280))).status == 200


async def test_bytes_that_are_no_text_are_refused(world: World) -> None:
    response = await world.send(b"\xff\xfe{}", "t=1,v1=00")
    assert (response.status, await problem(response)) == (400, "bad-signature")


async def test_a_body_that_says_it_is_too_long_is_not_read(world: World) -> None:
    """The head alone is sent: an answer can only come if nobody waits for the body."""
    port = world.client.port
    assert port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT + 1}\r\n\r\n".encode())
    status = await asyncio.wait_for(reader.readline(), PATIENCE_S)
    writer.close()
    await writer.wait_closed()
    assert status.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_turns_out_too_long_is_refused_without_its_rest(world: World) -> None:
    async def endless() -> Any:
        while not refused.is_set():
            yield b"x" * 8192

    refused = asyncio.Event()
    response = await world.client.post("/webhooks/stripe", data=endless(), headers={"Stripe-Signature": "t=1,v1=0"})
    refused.set()
    assert (response.status, await problem(response)) == (413, "too-large")


async def test_a_small_body_that_unpacks_to_a_large_one_is_too_large(world: World) -> None:
    packed = gzip.compress(b" " * (LIMIT * 50))
    headers = {"Content-Encoding": "gzip", "Stripe-Signature": "t=1,v1=0"}
    response = await world.client.post("/webhooks/stripe", data=packed, headers=headers)
    assert (response.status, await problem(response)) == (413, "too-large")


async def test_the_longest_body_that_is_allowed_is_taken(world: World) -> None:
    event = failed()
    event["padding"] = "x" * (LIMIT - len(orjson.dumps({**event, "padding": ""})))
    body = orjson.dumps(event)
    assert len(body) == LIMIT
    assert (await world.send(body)).status == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"NaN", "not-json"),
        (b'{"id":"\\ud800"}', "not-json"),
        (b"[" * 5000 + b"]" * 5000, "not-json"),
        (b"[]", "not-an-event"),
        (b'"evt_1"', "not-an-event"),
        (b"null", "not-an-event"),
        (b"{}", "not-an-event"),
        (b'{"id":"evt_1"}', "not-an-event"),
        (b'{"type":"invoice.paid"}', "not-an-event"),
        (b'{"id":1,"type":"invoice.paid"}', "not-an-event"),
        (b'{"id":"","type":"invoice.paid"}', "not-an-event"),
        (b'{"id":"evt_\\u0000","type":"invoice.paid"}', "not-an-event"),
        (b'{"id":"evt_1","type":"invoice.\\u0000paid"}', "not-an-event"),
        (b'{"id":"evt_1","type":"invoice.paid","account":"acct_\\u0000"}', "not-an-event"),
        (b'{"id":"evt_1","type":"invoice.paid","account":["acct_1"]}', "not-an-event"),
    ],
)
async def test_what_is_signed_and_no_event_is_refused(world: World, body: bytes, kind: str) -> None:
    response = await world.send(body)
    assert (response.status, await problem(response)) == (400, kind)
    await assert_nothing_was_taken(world)


@pytest.mark.parametrize(
    "data",
    [None, 1, [], {}, {"object": None}, {"object": []}, {"object": {"id": "in_\u0000"}}, {"object": {"id": "in_1"}}],
)
@pytest.mark.parametrize("kind", ["invoice.payment_failed", "charge.refunded", "radar.early_fraud_warning.created"])
async def test_an_event_whose_object_cannot_be_read_is_recorded_and_left_alone(
    world: World, kind: str, data: Any
) -> None:
    event = {"id": new_id(), "type": kind, "account": ACCOUNT, "data": data, "created": 2**63, "api_version": "\u0000"}
    await world.post(event)
    assert await world.outcome(event["id"]) in {"ignored", "routed"}
    assert await world.value("SELECT count(*) FROM recoveries") == 0


async def test_other_methods_are_not_allowed(world: World) -> None:
    assert (await world.client.get("/webhooks/stripe")).status == 405


async def test_events_are_counted_by_a_bounded_set_of_types(world: World) -> None:
    series = [
        'citadel_ingress_events_total{outcome="routed",type="invoice.payment_failed"}',
        'citadel_ingress_events_total{outcome="duplicate",type="invoice.payment_failed"}',
        'citadel_ingress_events_total{outcome="ignored",type="other"}',
    ]
    before = [await world.metric(line) for line in series]
    event = failed()
    await world.post(event)
    await world.post(event)
    await world.happen("some.type.nobody.knows", {"id": "x_1"})
    assert [await world.metric(line) for line in series] == [value + 1 for value in before]
    assert "nobody.knows" not in await (await world.client.get("/metrics")).text()


# aiohttp's TestServer cancels a handler whose caller hangs up; the real server does not, and that is what counts here.


async def test_a_caller_that_hangs_up_in_the_middle_is_a_bad_request_and_no_error_of_ours(
    world: World, open_database: OpenDatabase
) -> None:
    refused = 'citadel_ingress_refused_total{reason="incomplete-body"}'
    errors = 'citadel_http_requests_total{method="POST",route="/webhooks/stripe",service="ingress",status="500"}'
    refused_before, errors_before = await world.metric(refused), await world.metric(errors)
    async with open_database(Role.INGRESS) as ingress, serving(app_for(ingress), "127.0.0.1", 0, 5) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await until(lambda: world.metric(refused), "it was told", lambda now: now > refused_before)
    assert await world.metric(errors) == errors_before
    await assert_nothing_was_taken(world)


async def test_a_caller_that_hangs_up_does_not_cancel_its_commit(world: World, open_database: OpenDatabase) -> None:
    body = orjson.dumps(failed("evt_impatient"))
    head = f"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    async with open_database(Role.INGRESS) as ingress, serving(app_for(ingress), "127.0.0.1", 0, 5) as port:
        async with world.database.transaction() as other:
            await other.execute("SELECT id FROM merchants FOR UPDATE")
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{head}Stripe-Signature: {signed(body)}\r\n\r\n".encode() + body)
            await world.until_someone_waits_for_a_lock()
            writer.close()
            await writer.wait_closed()
        await until(lambda: world.outcome("evt_impatient"), "it is committed", lambda outcome: outcome == "routed")
    assert (await world.recovery())["state"] == "open"


async def test_without_the_database_an_event_is_a_503_and_is_taken_when_it_is_back() -> None:
    async with EmbeddedPostgres.temporary(fast=True) as server:
        url = server.url()
        upgrade(url)
        async with (
            Database.open(url, None, size=2) as owner,
            Database.open(url, Role.INGRESS, size=2) as ingress,
            client_for(ingress) as client,
        ):
            world = World(owner, client)
            await world.connect(ACCOUNT)
            event = failed("evt_in_the_dark")
            port = server.port
            await server.stop()
            response = await world.send(orjson.dumps(event))
            assert (response.status, await problem(response)) == (503, "database-away")
            assert response.headers["Retry-After"] == "2"
            await server.start()
            assert server.port == port, "a server comes back where it was, if it can"
            assert await world.outcome("evt_in_the_dark") is None
            assert await world.post(event) == {"received": True}
            assert await world.post(event) == {"received": True, "duplicate": True}
