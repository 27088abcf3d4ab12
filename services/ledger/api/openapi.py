"""The OpenAPI 3.1 document, made from the route table, which also registers the routes and checks the requests.

This module has only what holds for all endpoints.
"""

from collections.abc import Iterable
from typing import Any

from openapi_pydantic import (
    Components,
    Header,
    Info,
    MediaType,
    OpenAPI,
    Operation,
    Parameter,
    ParameterLocation,
    PathItem,
    Reference,
    RequestBody,
    Response,
    Schema,
    SecurityScheme,
)
from openapi_pydantic.util import PydanticSchema, construct_open_api_with_schema_class
from pydantic import BaseModel

from services.ledger.api.csv_export import CsvFile
from services.ledger.api.endpoint import Endpoint, KeyUse
from services.ledger.api.schemas import ProblemDetails

AnyEndpoint = Endpoint[Any, Any, Any]

TITLE = "The Citadel: ledger"
DESCRIPTION = """
What happened, in numbers, and what an operator may do about it. Keys are made by `citadel keys create`; a merchant's
key sees that merchant alone, everything else is a 404 to it.

**Errors** are RFC 9457 problem details. What cannot be read, or is wrong in path, query or headers, is a 400; a body
that is JSON but not what the endpoint takes is a 422 that names each field. Conflicts are 409, a version that has
changed (`If-Match`) among them.

**Lists** come in pages, newest first: pass `next_cursor` as `cursor` until it is null. A page starts where the last
one ended, whatever came in between.

**Repeats**: a write under an `Idempotency-Key` takes effect once and answers the same for at least 24 hours
(`Idempotent-Replayed: true`); the same key with another request is a 422. Refused writes keep nothing.

**Files** (`.csv`) are RFC 4180 in UTF-8 with a header, sent as they are read; one that could not be sent whole ends
without its last chunk. A text that a spreadsheet would take for a formula begins with an apostrophe.

Amounts are whole minor units of their currency. Times are UTC.
""".strip()

_COMMON = {
    400: "Path, query or headers are malformed, or the body cannot be read.",
    401: "There is no valid key.",
    403: "The key lacks the scope.",
    500: "An unexpected error; the log has it under the request_id.",
    503: "The database is away or busy. Try again.",
}
_WITH_BODY = {
    413: "The body is longer than 64 KiB.",
    415: "The body is not application/json.",
    422: "Fields of the body are invalid, or the Idempotency-Key was used with another request.",
}

_KEY_PARAMETER = {"type": "string", "pattern": "^[!-~]{1,255}$"}
_MATCH_PARAMETER = {"type": "string"}
_HEADERS = {
    "X-Request-Id": ("the request's id in the log", {"type": "string", "format": "uuid"}, True),
    "WWW-Authenticate": ("how to authenticate", {"type": "string"}, True),
    "Retry-After": ("seconds to wait", {"type": "integer"}, False),
    "ETag": ("the task's version", {"type": "string", "pattern": '^"[0-9]{1,10}"$'}, True),
    "Location": ("where the new row is", {"type": "string"}, True),
    "Content-Disposition": ("the file's name", {"type": "string"}, True),
    "Idempotent-Replayed": ("the answer is the one from before", {"type": "string", "const": "true"}, False),
}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A parameter's schema without references: definitions of enums are inserted."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
        return {name: _inlined(item, definitions) for name, item in schema.items() if name != "title"}
    return [_inlined(item, definitions) for item in schema] if isinstance(schema, list) else schema


def _parameter_schema(raw: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter's value, with its default if it has one; an optional parameter is never null."""
    schema: dict[str, Any] = _inlined(raw, definitions)
    schema.pop("description", None)
    alternatives = [item for item in schema.pop("anyOf", []) if item != {"type": "null"}]
    if alternatives:
        schema |= alternatives[0]
    if schema.get("default", ...) is None:
        del schema["default"]
    schema.pop("description", None)
    return schema


def _parameter(
    name: str, where: ParameterLocation, *, required: bool, description: str | None, schema: dict[str, Any]
) -> Parameter:
    values = {"name": name, "in": where, "required": required, "description": description, "schema": schema}
    return Parameter.model_validate(values)


def _parameters(endpoint: AnyEndpoint) -> list[Parameter | Reference]:
    model = endpoint.parameters.model_json_schema(by_alias=True)
    found: list[Parameter | Reference] = []
    for name, raw in model.get("properties", {}).items():
        in_path = f"{{{name}}}" in endpoint.path
        found.append(
            _parameter(
                name,
                ParameterLocation.PATH if in_path else ParameterLocation.QUERY,
                required=in_path or name in model.get("required", []),
                description=raw.get("description"),
                schema=_parameter_schema(raw, model.get("$defs", {})),
            )
        )
    if endpoint.key_use is not KeyUse.NONE:
        required = endpoint.key_use is KeyUse.REQUIRED
        why = "a repeat under the same key answers the same"
        found.append(
            _parameter(
                "Idempotency-Key", ParameterLocation.HEADER, required=required, description=why, schema=_KEY_PARAMETER
            )
        )
    if endpoint.takes_if_match:
        why = "the version that was seen, as `ETag` gave it"
        found.append(
            _parameter("If-Match", ParameterLocation.HEADER, required=False, description=why, schema=_MATCH_PARAMETER)
        )
    return found


def _header(name: str) -> Header:
    description, schema, required = _HEADERS[name]
    return Header(description=description, required=required, param_schema=Schema.model_validate(schema))


def _response(description: str, content_type: str, model: type[BaseModel], headers: Iterable[str]) -> Response:
    schema: Schema = PydanticSchema(schema_class=model)
    return _response_of(description, content_type, schema, headers)


def _response_of(description: str, content_type: str, schema: Schema, headers: Iterable[str]) -> Response:
    return Response(
        description=description,
        headers={name: _header(name) for name in ("X-Request-Id", *headers)},
        content={content_type: MediaType(media_type_schema=schema)},
    )


def _done(endpoint: AnyEndpoint, headers: Iterable[str]) -> Response:
    if issubclass(endpoint.answer, CsvFile):
        table = Schema.model_validate({"type": "string", "description": "RFC 4180, UTF-8, with a header"})
        return _response_of("Done.", "text/csv", table, [*headers, "Content-Disposition"])
    return _response("Done.", "application/json", endpoint.answer, headers)


def _responses(endpoint: AnyEndpoint) -> dict[str, Response | Reference]:
    headers = []
    if endpoint.versioned:
        headers.append("ETag")
    if endpoint.located:
        headers.append("Location")
    if endpoint.key_use is not KeyUse.NONE:
        headers.append("Idempotent-Replayed")
    found: dict[str, Response | Reference] = {str(endpoint.status): _done(endpoint, headers)}
    refusals = _COMMON | (_WITH_BODY if endpoint.takes_body else {}) | dict(endpoint.refusals)
    for status, description in sorted(refusals.items()):
        extra = {401: ["WWW-Authenticate"], 503: ["Retry-After"]}.get(status, [])
        found[str(status)] = _response(description, "application/problem+json", ProblemDetails, extra)
    return found


def _operation(endpoint: AnyEndpoint) -> Operation:
    body = None
    if endpoint.takes_body:
        media = MediaType(media_type_schema=PydanticSchema(schema_class=endpoint.body))
        body = RequestBody(required=True, content={"application/json": media})
    return Operation(
        operationId=endpoint.name,
        summary=endpoint.summary,
        description=f"{endpoint.description}\n\nNeeds the scope `{endpoint.scope}`.",
        tags=[endpoint.path.split("/")[2]],
        parameters=_parameters(endpoint) or None,
        requestBody=body,
        responses=_responses(endpoint),
        security=[{"apiKey": []}],
    )


def document(endpoints: Iterable[AnyEndpoint]) -> dict[str, Any]:
    """The document as JSON-ready values."""
    paths: dict[str, PathItem] = {}
    for endpoint in endpoints:
        item = paths.setdefault(endpoint.path, PathItem())
        setattr(item, endpoint.method.lower(), _operation(endpoint))
    key = SecurityScheme(type="http", scheme="bearer", bearerFormat="ctdl_…", description="an API key")
    api = OpenAPI(
        info=Info(title=TITLE, version="1", description=DESCRIPTION),
        paths=paths,
        components=Components(securitySchemes={"apiKey": key}),
    )
    whole = construct_open_api_with_schema_class(api)
    return {"openapi": whole.openapi} | whole.model_dump(mode="json", by_alias=True, exclude_defaults=True)
