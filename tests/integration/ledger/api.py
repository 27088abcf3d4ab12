"""Callers of the ledger's API."""

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestClient

from services.ledger.api.csv_export import CsvFile
from services.ledger.api.openapi import document
from services.ledger.api.schemas import ProblemDetails
from services.ledger.routes import ENDPOINTS

DOCUMENT = document(ENDPOINTS)


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
