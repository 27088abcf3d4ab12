"""The ledger's API over a database of the test's own, and a small world to ask about."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.ledger.api.csv_export import CsvFile
from services.ledger.api.openapi import document
from services.ledger.api.schemas import ProblemDetails
from services.ledger.app import make_ledger_app
from services.ledger.routes import ENDPOINTS
from shared import recoveries
from shared.api_keys import Scope, hash_secret, new_secret
from shared.database import Database, Role
from shared.money import Money
from shared.recovery_model import EndReason, Entry, EntryKind, FailedInvoice, RecoveredBy, RecoveryState
from tests.conftest import OpenDatabase

_numbers = itertools.count(1)

INSERT_MERCHANT = "INSERT INTO merchants (stripe_connect_id, access_token) VALUES ($1, 'v1.k.sealed') RETURNING id"
INSERT_KEY = "INSERT INTO api_keys (name, merchant_id, key_hash, scopes) VALUES ('test', $1, $2, $3)"
INSERT_TASK = """
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, attempts, locked_by, lease_expires_at, unique_key)
VALUES ($1, $2, '{}', $3, 3, $4, CASE WHEN $4::text IS NOT NULL THEN clock_timestamp() + interval '1 hour' END, $5)
RETURNING public_id
"""


DOCUMENT = document(ENDPOINTS)


class World:
    """Builds the smallest scene, with the owner's rights and the product's own code."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def merchant(self) -> str:
        """A connected merchant; its id."""
        async with self.database.transaction() as db:
            return str(await db.fetchval(INSERT_MERCHANT, f"acct_{next(_numbers)}"))

    async def key(self, merchant_id: str | None = None, *scopes: Scope) -> str:
        """A key with these scopes, or with all of them; the platform's without a merchant."""
        secret = new_secret()
        async with self.database.transaction() as db:
            await db.execute(INSERT_KEY, merchant_id, hash_secret(secret), list(scopes or Scope))
        return secret

    async def recovery(self, merchant_id: str, amount: int = 1000, currency: str = "usd") -> UUID:
        """An open recovery with its first task."""
        number = next(_numbers)
        failed = FailedInvoice(merchant_id, f"in_{number}", f"sub_{number}", f"cus_{number}", Money(amount, currency))
        async with self.database.transaction() as db:
            made = await recoveries.open_recovery(
                db, failed, Entry(EntryKind.OPENED, "renewal_failed", "A renewal failed.")
            )
        assert made is not None
        return made

    async def recovered(self, recovery_id: UUID, amount: int = 1000, currency: str = "usd") -> None:
        """End a recovery: our retry brought the money in."""
        async with self.database.transaction() as db:
            await recoveries.close(
                db,
                recovery_id,
                RecoveryState.RECOVERED,
                EndReason.PAID_BY_RETRY,
                Entry(EntryKind.CLOSED, EndReason.PAID_BY_RETRY, "The retry succeeded."),
                recovered=Money(amount, currency),
                recovered_by=RecoveredBy.RETRY,
            )

    async def ended(self, recovery_id: UUID, state: RecoveryState) -> None:
        """End a recovery without money."""
        async with self.database.transaction() as db:
            await recoveries.close(
                db, recovery_id, state, EndReason.VOIDED, Entry(EntryKind.CLOSED, "test", "It ended.")
            )

    async def task(
        self, merchant_id: str, status: str = "pending", task_type: str = "job", unique_key: str | None = None
    ) -> UUID:
        """A task in any status; its public id."""
        worker = "worker-1" if status == "running" else None
        async with self.database.transaction() as db:
            made: UUID = await db.fetchval(INSERT_TASK, merchant_id, task_type, status, worker, unique_key)
        return made

    async def value(self, statement: str, *arguments: Any) -> Any:
        """One value, read with the owner's rights."""
        async with self.database.transaction() as db:
            return await db.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: Any) -> None:
        """One change, made with the owner's rights."""
        async with self.database.transaction() as db:
            await db.execute(statement, *arguments)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the API answered; its body was checked against the OpenAPI document's model."""

    status: int
    body: Any
    headers: Any

    @property
    def problem(self) -> str:
        """The problem's type without its prefix."""
        return str(self.body["type"]).removeprefix("urn:citadel:problem:")

    @property
    def fields(self) -> list[str]:
        """The fields that the problem names."""
        return [error["field"] for error in self.body["errors"]]


class Api:
    """A caller with one key. Every answer is held against the route table: its status, type and shape."""

    def __init__(self, client: "TestClient[web.Request, web.Application]", key: str | None) -> None:
        self._client = client
        self._key = key

    def as_(self, key: str | None) -> "Api":
        """The same API, called with another key."""
        return Api(self._client, key)

    async def get(self, path: str, **query: Any) -> Reply:
        """GET with query parameters."""
        return await self.send("GET", path, params={name: str(value) for name, value in query.items()})

    async def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        """POST a JSON body; headers as Idempotency_Key="…"."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            return await self.send(
                "POST", path, data=orjson.dumps(body), headers=given | {"Content-Type": "application/json"}
            )
        return await self.send("POST", path, headers=given)

    async def delete(self, path: str, **headers: str) -> Reply:
        """DELETE; headers as If_Match="…"."""
        return await self.send("DELETE", path, headers={n.replace("_", "-"): v for n, v in headers.items()})

    async def send(self, method: str, path: str, **options: Any) -> Reply:
        """Any request at all."""
        headers = dict(options.pop("headers", {}))
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        async with self._client.request(method, path, headers=headers, **options) as response:
            raw = await response.read()
            body = raw.decode() if response.content_type == "text/csv" else orjson.loads(raw)
            _check(method, path.partition("?")[0], response.status, response.content_type, body)
            return Reply(response.status, body, response.headers)


def _check(method: str, path: str, status: int, content_type: str, body: Any) -> None:
    if status >= 400:
        assert content_type == "application/problem+json"
        ProblemDetails.model_validate(body)
    parts = path.split("/")
    for endpoint in ENDPOINTS:
        expected = endpoint.path.split("/")
        if endpoint.method != method or len(parts) != len(expected):
            continue
        if all(want == part or want.startswith("{") for part, want in zip(parts, expected, strict=True)):
            operation = DOCUMENT["paths"][endpoint.path][method.lower()]
            assert str(status) in operation["responses"], f"{method} {path} answers {status}, which is not documented"
            if status < 400:
                if issubclass(endpoint.answer, CsvFile):
                    assert content_type == "text/csv"
                    return
                assert content_type == "application/json"
                shown = endpoint.answer.model_validate(body).model_dump(mode="json", by_alias=True)
                assert shown == body


@pytest.fixture
def world(database: Database) -> World:
    """The scene's builder."""
    return World(database)


@pytest.fixture
async def api(open_database: OpenDatabase, world: World) -> AsyncIterator[Api]:
    """The API, under the ledger's role, called with a key of the platform that may do everything."""
    async with (
        open_database(Role.LEDGER) as database,
        TestClient(TestServer(make_ledger_app(database))) as client,
    ):
        yield Api(client, await world.key())
