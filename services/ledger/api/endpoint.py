"""An endpoint: its input, output and rights, declared once; and how an HTTP request gets to its function.

The steps: read the body (without a database connection) → one transaction: key and scope (401, 403) → parameters and
headers (400) → body (415, 400, 422) → Idempotency-Key (replay a saved answer) → the endpoint's function → commit →
answer. A refusal at any step rolls the transaction back. A file (`CsvFile`) is sent after that commit, from a
transaction of its own.

Bad input: a body that cannot be read, and errors in path, query or headers, are a 400; a body that is JSON but not what
the endpoint expects is a 422 that names each field.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, Literal, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from services.ledger.api import idempotency
from services.ledger.api.csv_export import CsvFile, send
from services.ledger.api.fields import IDEMPOTENCY_KEY, unstorable
from services.ledger.api.idempotency import Keyed
from services.ledger.api.schemas import NoBody
from shared.api_keys import ApiKey, Scope, authenticate
from shared.database import Connection
from shared.http import DATABASE, Handler, Problem, fields_of, invalid, json_response

P = TypeVar("P", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)
A = TypeVar("A", bound=BaseModel | CsvFile)


class KeyUse(Enum):
    """Whether an endpoint takes an Idempotency-Key."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Call(Generic[P, B]):
    """A checked request, inside its transaction. `if_match` is the unparsed header (RFC 9110), None without it."""

    db: Connection
    key: ApiKey
    parameters: P
    body: B
    if_match: str | None


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[P, B, A]):
    """A line of the route table. `refusals` says what this endpoint's special statuses mean.

    A field of `parameters` that is named in the path's braces comes from the path, every other from the query.
    """

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    scope: Scope
    summary: str
    description: str
    handler: Callable[[Call[P, B]], Awaitable[A]]
    parameters: type[P]
    body: type[B]
    answer: type[A]
    status: int = 200
    key_use: KeyUse = KeyUse.NONE
    takes_if_match: bool = False
    versioned: bool = False
    located: str | None = None
    refusals: Mapping[int, str] = field(default_factory=dict)

    @property
    def takes_body(self) -> bool:
        """Whether a body is read at all."""
        return self.body is not NoBody


def read_parameters(endpoint: Endpoint[P, B, A], request: web.Request) -> P:
    """The path's and the query's parameters. Raises Problem 400: malformed, unknown, or given twice."""
    values: dict[str, str] = {}
    errors: list[tuple[str, str]] = []
    for name, value in request.query.items():
        if name in values:
            errors.append((name, "given more than once"))
        if f"{{{name}}}" in endpoint.path:
            errors.append((name, "belongs in the path"))
        values[name] = value
    if errors:
        raise invalid(400, "malformed-request", errors)
    try:
        return endpoint.parameters.model_validate(values | dict(request.match_info))
    except ValidationError as error:
        raise invalid(400, "malformed-request", fields_of(error)) from None


def read_json(request: web.Request, raw: bytes) -> Any:
    """The body as parsed JSON. Raises Problem 415 for another content type, 400 if it is not JSON (RFC 8259, UTF-8)."""
    if request.content_type != "application/json" or "Content-Type" not in request.headers:
        raise Problem(415, "unsupported-media-type", "Expected a body of type application/json.")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "malformed-request", f"Expected JSON in UTF-8: {error}.") from None


def check_body(model: type[B], parsed: Any) -> B:
    """The body as the endpoint's model. Raises Problem 422 that names each wrong field."""
    if problem := unstorable(parsed):
        raise invalid(422, "invalid-body", [problem])
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        raise invalid(422, "invalid-body", fields_of(error)) from None


def read_keyed(endpoint: Endpoint[P, B, A], request: web.Request, key: ApiKey, parsed: Any) -> Keyed | None:
    """The request under its Idempotency-Key, or None without one. Raises Problem 400: malformed, or missing."""
    if endpoint.key_use is KeyUse.NONE:
        return None
    given = request.headers.getall("Idempotency-Key", [])
    if len(given) > 1 or (given and not IDEMPOTENCY_KEY.fullmatch(given[0])):
        expected = "expected 1 to 255 printable ASCII characters, no space"
        raise invalid(400, "malformed-request", [("Idempotency-Key", expected)])
    if given:
        return Keyed(key.id, given[0], idempotency.fingerprint(request.method, request.path, parsed))
    if endpoint.key_use is KeyUse.REQUIRED:
        raise invalid(400, "idempotency-key-missing", [("Idempotency-Key", "required: a repeat must not count twice")])
    return None


def _headers(endpoint: Endpoint[P, B, A], body: Mapping[str, Any]) -> dict[str, str]:
    headers = {}
    if endpoint.versioned:
        headers["ETag"] = f'"{body["version"]}"'
    if endpoint.located:
        headers["Location"] = endpoint.located.format(id=body["id"])
    return headers


async def _answer(
    endpoint: Endpoint[P, B, A], request: web.Request, db: Connection, raw: bytes
) -> web.Response | CsvFile:
    key = await authenticate(db, request, endpoint.scope)
    parameters = read_parameters(endpoint, request)
    if_match = ",".join(request.headers.getall("If-Match", [])) if "If-Match" in request.headers else None
    parsed = read_json(request, raw) if endpoint.takes_body else {}
    body = check_body(endpoint.body, parsed)
    keyed = read_keyed(endpoint, request, key, parsed)
    if keyed and (before := await idempotency.replay(db, keyed)) is not None:
        headers = _headers(endpoint, before) | {"Idempotent-Replayed": "true"}
        return json_response(before, endpoint.status, headers)
    answer = await endpoint.handler(Call(db, key, parameters, body, if_match))
    if isinstance(answer, CsvFile):
        return answer
    content = answer.model_dump(mode="json", by_alias=True)
    if keyed:
        await idempotency.keep(db, keyed, endpoint.status, content)
    return json_response(content, endpoint.status, _headers(endpoint, content))


def serve_endpoint(endpoint: Endpoint[Any, Any, Any]) -> Handler:
    """The endpoint as a handler of aiohttp."""

    async def handle(request: web.Request) -> web.StreamResponse:
        raw = await request.read() if endpoint.takes_body else b""
        async with request.app[DATABASE].transaction() as db:
            answer = await _answer(endpoint, request, db, raw)
        return await send(request, answer) if isinstance(answer, CsvFile) else answer

    return handle
