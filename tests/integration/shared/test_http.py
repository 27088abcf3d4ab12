"""What every service's HTTP side has in common: problems, health, metrics."""

import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from shared import migrations
from shared.database import Database, Role
from shared.http import Problem, json_response, make_app
from tests.conftest import OpenDatabase

Client = TestClient[web.Request, web.Application]


async def refuse(_request: web.Request) -> web.Response:
    raise Problem(409, "conflict", "It is taken.", errors=[{"field": "name", "message": "taken"}])


async def crash(_request: web.Request) -> web.Response:
    raise RuntimeError("jane.roe@example.com cannot be billed")


async def echo(request: web.Request) -> web.Response:
    return json_response({"length": len(await request.read())})


def client_for(database: Database) -> Client:
    app = make_app("test", database, max_body_bytes=1000)
    app.router.add_get("/refuse", refuse)
    app.router.add_get("/crash", crash)
    app.router.add_post("/echo", echo)
    return TestClient(TestServer(app))


@pytest.fixture
async def client(open_database: OpenDatabase) -> AsyncIterator[Client]:
    async with open_database(Role.LEDGER) as database, client_for(database) as client:
        yield client


@pytest.fixture
async def away() -> AsyncIterator[Client]:
    """A service whose database is not there: a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with (
        Database.open(f"postgresql://u:p@127.0.0.1:{port}/none", Role.LEDGER) as database,
        client_for(database) as client,
    ):
        yield client


async def test_a_problem_says_what_is_wrong_and_where(client: Client) -> None:
    response = await client.get("/refuse")
    assert response.status == 409
    assert response.content_type == "application/problem+json"
    assert await response.json() == {
        "type": "urn:citadel:problem:conflict",
        "title": "Conflict",
        "status": 409,
        "detail": "It is taken.",
        "errors": [{"field": "name", "message": "taken"}],
        "request_id": response.headers["X-Request-Id"],
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "type_"),
    [("GET", "/nowhere", 404, "not-found"), ("DELETE", "/echo", 405, "method-not-allowed")],
)
async def test_what_does_not_exist_is_a_problem_too(
    client: Client, method: str, path: str, status: int, type_: str
) -> None:
    response = await client.request(method, path)
    assert response.status == status
    assert (await response.json())["type"] == f"urn:citadel:problem:{type_}"


async def test_a_body_that_is_too_large_is_refused(client: Client) -> None:
    assert (await client.post("/echo", data=b"x" * 1000)).status == 200
    response = await client.post("/echo", data=b"x" * 1001)
    assert response.status == 413
    assert (await response.json())["status"] == 413


async def test_an_unexpected_error_tells_the_caller_nothing(client: Client) -> None:
    response = await client.get("/crash")
    assert response.status == 500
    assert "jane" not in await response.text()


async def test_a_service_is_ready_when_the_schema_is_the_expected_one(client: Client, database: Database) -> None:
    assert (await client.get("/readyz")).status == 200
    async with database.transaction() as db:
        await db.execute("UPDATE alembic_version SET version_num = '0001'")
    response = await client.get("/readyz")
    assert response.status == 503
    detail = (await response.json())["detail"]
    assert "0001" in detail
    assert migrations.HEAD in detail
    assert "citadel migrate" in detail


async def test_a_service_is_ready_on_the_schema_of_newer_code(client: Client, database: Database) -> None:
    """During an upgrade the schema goes first, and a rolled-back service meets it again."""
    async with database.transaction() as db:
        await db.execute("UPDATE alembic_version SET version_num = '9999'")
    assert (await client.get("/readyz")).status == 200


async def test_without_its_database_a_service_lives_but_is_not_ready(away: Client) -> None:
    assert (await away.get("/healthz")).status == 200
    response = await away.get("/readyz")
    assert response.status == 503
    assert response.headers["Retry-After"] == "2"
    assert (await response.json())["type"] == "urn:citadel:problem:database-away"


async def test_requests_are_counted_by_route(client: Client) -> None:
    await client.get("/refuse")
    text = await (await client.get("/metrics")).text()
    assert 'citadel_http_requests_total{method="GET",route="/refuse",service="test",status="409"}' in text
