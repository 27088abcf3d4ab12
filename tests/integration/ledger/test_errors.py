"""What the API says to requests that it cannot take. Garbage is never a 500."""

import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.ledger.app import MAX_BODY_BYTES, make_ledger_app
from services.ledger.routes import ENDPOINTS
from shared.api_keys import Scope
from shared.database import Database, Role
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

NOBODY = "00000000-0000-4000-8000-000000000000"
JSON = {"Content-Type": "application/json"}


def example(path: str) -> str:
    """The path with an id in it."""
    return path.replace("{recovery_id}", NOBODY).replace("{task_id}", NOBODY).replace("{merchant_id}", NOBODY)


async def test_every_endpoint_needs_a_key(api: Api) -> None:
    for endpoint in ENDPOINTS:
        for key in (None, "ctdl_wrong", "sk_live_x"):
            reply = await api.as_(key).send(endpoint.method, example(endpoint.path))
            assert (reply.status, reply.problem) == (401, "unauthenticated"), endpoint.name
            assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_every_endpoint_needs_its_scope(api: Api, world: World) -> None:
    for endpoint in ENDPOINTS:
        others = [scope for scope in Scope if scope is not endpoint.scope]
        without = api.as_(await world.key(None, *others))
        assert (await without.send(endpoint.method, example(endpoint.path))).status == 403, endpoint.name


@pytest.mark.parametrize(
    "end", ["UPDATE api_keys SET revoked_at = now()", "UPDATE api_keys SET expires_at = now() - interval '1 s'"]
)
async def test_a_key_that_is_revoked_or_expired_opens_nothing(api: Api, world: World, end: str) -> None:
    key = await world.key()
    await world.execute(end)
    assert (await api.as_(key).get("/v1/stats")).status == 401


GARBAGE_IDS = ["1", "9223372036854775808", "%00", "null", NOBODY + "0", "%7B" + NOBODY + "%7D", "%FF", "x" * 2000]


async def test_an_id_that_is_none_is_a_400(api: Api) -> None:
    for path in ("/v1/tasks", "/v1/recoveries", "/v1/merchants"):
        for garbage in GARBAGE_IDS:
            reply = await api.send("GET", f"{path}/{garbage}")
            assert (reply.status, reply.problem) == (400, "malformed-request"), garbage


async def test_an_id_of_nothing_is_a_404(api: Api) -> None:
    for path in ("/v1/tasks", "/v1/recoveries", "/v1/merchants"):
        assert (await api.get(f"{path}/{NOBODY}")).status == 404


GARBAGE_QUERIES = [
    ("/v1/tasks", "limit=0"),
    ("/v1/tasks", "limit=201"),
    ("/v1/tasks", "limit=-1"),
    ("/v1/tasks", "limit=1.0"),
    ("/v1/tasks", "limit=1_0"),
    ("/v1/tasks", "limit=%201"),
    ("/v1/tasks", "limit=99999999999999999999"),
    ("/v1/tasks", "limit=%D9%A1"),
    ("/v1/tasks", "limit="),
    ("/v1/tasks", "limit=1&limit=2"),
    ("/v1/tasks", "status=lost"),
    ("/v1/tasks", "status="),
    ("/v1/tasks", "task_type=a%00b"),
    ("/v1/tasks", "task_type=%FF"),
    ("/v1/tasks", "recovery_id=1"),
    ("/v1/tasks", "unknown=1"),
    (f"/v1/tasks/{NOBODY}", f"task_id={NOBODY}"),
    ("/v1/tasks", "merchant_id=acct_1"),
    ("/v1/tasks", "cursor="),
    ("/v1/tasks", "cursor=%00"),
    ("/v1/tasks", "cursor=abc"),
    ("/v1/tasks", "cursor=WyJ0YXNrcyIsMF0"),  # ["tasks",0]
    ("/v1/tasks", "cursor=WyJ0YXNrcyIsOTIyMzM3MjAzNjg1NDc3NTgwOF0"),  # ["tasks",9223372036854775808]
    ("/v1/tasks", "cursor=WyJ0YXNrcyIsIjEiXQ"),  # ["tasks","1"]
    ("/v1/tasks", "cursor=WyJ0YXNrcyIsdHJ1ZV0"),  # ["tasks",true]
    ("/v1/tasks", "cursor=e30"),  # {}
    ("/v1/recoveries", "cursor=WyJyZWNvdmVyaWVzIiwxLCJ4Il0"),  # ["recoveries",1,"x"]
    ("/v1/recoveries", "opened_from=yesterday"),
    ("/v1/recoveries", "opened_from=2026-01-01"),
    ("/v1/recoveries", "opened_to=9999-12-31T23:59:59-10:00"),
    ("/v1/recoveries", "currency=USD"),
    ("/v1/recoveries", "invoice_id=in_%00"),
    ("/v1/metrics/daily", "from=0000-01-01"),
]


async def test_a_query_that_cannot_be_taken_is_a_400_that_names_it(api: Api) -> None:
    for path, query in GARBAGE_QUERIES:
        reply = await api.send("GET", f"{path}?{query}")
        assert (reply.status, reply.problem) == (400, "malformed-request"), query
        assert reply.fields == [query.partition("=")[0]]


NO_JSON = [
    b"",
    b"{",
    b"nonsense",
    b'{"task_type": NaN}',
    b'{"payload": 1e999}',
    b"\xff\xfe",
    b'"\\ud800"',
    b"\xef\xbb\xbf{}",
    b"[" * 5000,
]


async def test_a_body_that_is_no_json_is_a_400(api: Api) -> None:
    for raw in NO_JSON:
        reply = await api.send("POST", "/v1/tasks", data=raw, headers=JSON)
        assert (reply.status, reply.problem) == (400, "malformed-request"), raw[:40]


WRONG_BODIES = [
    (b"[]", ""),
    (b"null", ""),
    (b'"text"', ""),
    (b"{}", "task_type"),
    (b'{"task_type": "job"}', "payload"),
    (b'{"task_type": "job", "payload": []}', "payload"),
    (b'{"task_type": "job", "payload": {"a": ["x", "\\u0000"]}}', "payload.a.1"),
    (b'{"task_type": "job", "payload": {"a\\u0000": 1}}', "payload"),
    (b'{"\\u0000": 1}', ""),
    (b'{"task_type": "job\\u0000", "payload": {}}', "task_type"),
    (b'{"task_type": "Job", "payload": {}}', "task_type"),
    (b'{"task_type": "job", "payload": {}, "run_at": 12}', "run_at"),
    (b'{"task_type": "job", "payload": {}, "unique_key": "a b"}', "unique_key"),
    (b'{"task_type": "job", "payload": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}", "payload.a" + ".0" * 31),
    (b'{"task_type": "job", "payload": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}", "payload.a" + ".0" * 31),
]


async def test_a_body_that_is_json_but_not_what_is_taken_is_a_422(api: Api) -> None:
    for raw, field in WRONG_BODIES:
        reply = await api.send("POST", "/v1/tasks", data=raw, headers=JSON)
        assert (reply.status, reply.problem) == (422, "invalid-body"), raw[:40]
        assert field in reply.fields


async def test_a_number_beyond_64_bits_in_a_payload_is_kept_as_json_parsers_read_it(api: Api, world: World) -> None:
    raw = b'{"merchant_id": "%s", "task_type": "job", "payload": {"n": 1%s}}' % (
        (await world.connect()).encode(),
        b"0" * 30,
    )
    reply = await api.send("POST", "/v1/tasks", data=raw, headers=JSON)
    assert (reply.status, reply.body["payload"]) == (201, {"n": 1e30})


async def test_a_body_of_another_type_is_a_415(api: Api) -> None:
    for type_ in ("text/plain", "application/x-www-form-urlencoded", "application/json5", "garbage"):
        reply = await api.send("POST", "/v1/tasks", data=b"{}", headers={"Content-Type": type_})
        assert (reply.status, reply.problem) == (415, "unsupported-media-type"), type_


async def test_a_charset_beside_the_type_is_taken(api: Api) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert (await api.send("POST", "/v1/tasks", data=b"{}", headers=headers)).status == 422


async def test_a_body_that_is_too_long_is_a_413(api: Api) -> None:
    raw = b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}'
    assert (await api.send("POST", "/v1/tasks", data=raw, headers=JSON)).status == 413


async def test_a_method_that_is_not_there_is_a_405_that_says_which_are(api: Api) -> None:
    for method in ("PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE"):
        reply = await api.send(method, "/v1/stats")
        assert reply.status == 405
        assert set(reply.headers["Allow"].split(",")) == {"GET"}


async def test_a_path_that_is_not_there_is_a_404(api: Api) -> None:
    assert (await api.get("/v1/nothing")).status == 404
    assert (await api.get("/v2/stats")).status == 404


async def test_a_database_that_is_away_is_a_503_that_asks_to_come_back() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with (
        Database.open(f"postgresql://u:p@127.0.0.1:{port}/none", Role.LEDGER) as database,
        TestClient[web.Request, web.Application](TestServer(make_ledger_app(database))) as client,
    ):
        reply = await Api(client, "ctdl_any").get("/v1/stats")
    assert (reply.status, reply.problem, reply.headers["Retry-After"]) == (503, "database-away", "2")


# The product waits 10 s for a lock. This makes every transaction that has touched a key wait for 100 ms only.
IMPATIENT = """
CREATE FUNCTION impatient() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM set_config('lock_timeout', '100ms', true); RETURN NEW; END $$;
CREATE TRIGGER impatient BEFORE UPDATE ON api_keys FOR EACH ROW EXECUTE FUNCTION impatient();
"""


async def test_a_row_that_another_holds_too_long_is_a_503(api: Api, world: World) -> None:
    task = await world.task(await world.connect())
    async with world.database.transaction() as db:
        await db.execute(IMPATIENT)
    async with world.database.transaction() as db:
        await db.execute("SELECT FROM scheduled_tasks WHERE public_id = $1 FOR UPDATE", task)
        reply = await api.delete(f"/v1/tasks/{task}")
    assert (reply.status, reply.problem) == (503, "busy")
