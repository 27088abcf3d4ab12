"""Stripe's OpenAPI document and fixtures: read once, made strict, and kept for everybody.

The document leaves objects open and marks null by `nullable`. Here every object that lists its
properties is closed (`additionalProperties: false`), so that a misspelled nested parameter does
not pass, and `nullable` becomes what JSON Schema understands.
"""

from functools import cache
from pathlib import Path
from typing import Any

import orjson

from simulator.shapes import Json

FOLDER = Path(__file__).parent / "stripe_openapi"
DOCUMENT = FOLDER / "openapi-2026-05-27.dahlia.json"
# Of the same document, what it needs to tell of credit notes and balances.
MONEY = FOLDER / "money-2026-05-27.dahlia.json"
FIXTURES = FOLDER / "fixtures.json"
URI = "urn:stripe:openapi"

# Of Stripe's changes after the document what the product uses. A portal session that outlives its link:
# https://docs.stripe.com/changelog/endive/2026-10-28/session-recovery-for-expired-customer-portal-sessions
_AFTER_EXPIRATION: Json = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "enum": ["customer_login"]},
        "customer_login": {"type": "object", "properties": {"expires_at": {"type": "integer"}}},
    },
}

# Objects whose `customer` is not nullable in the document, although they have a `customer_account` in its stead.
_CUSTOMER_OR_ACCOUNT = ("invoice", "subscription")

# Words of JSON Schema that hold further schemas, by how they hold them.
_SCHEMA_MAPS = {"properties"}
_SCHEMA_LISTS = {"anyOf", "oneOf", "allOf"}
_SCHEMAS = {"items", "additionalProperties", "not"}


@cache
def document() -> Json:
    """The whole document, with every schema made strict."""
    raw: Json = orjson.loads(DOCUMENT.read_bytes())
    more: Json = orjson.loads(MONEY.read_bytes())
    raw["paths"].update(more["paths"])
    schemas = raw["components"]["schemas"]
    schemas.update(more["components"]["schemas"])
    schemas["billing_portal.session"]["properties"]["after_expiration"] = {**_AFTER_EXPIRATION, "nullable": True}
    for name in _CUSTOMER_OR_ACCOUNT:
        schemas[name]["properties"]["customer"]["nullable"] = True
    portal = raw["paths"]["/v1/billing_portal/sessions"]["post"]["requestBody"]["content"]
    form = portal["application/x-www-form-urlencoded"]["schema"]
    form["properties"]["after_expiration"] = _AFTER_EXPIRATION
    raw["components"]["schemas"] = {name: strict(schema) for name, schema in schemas.items()}
    return raw


@cache
def api_version() -> str:
    """The API version that the answers have the shape of."""
    return str(document()["info"]["version"])


@cache
def fixtures() -> Json:
    """One example of each resource, by object name, without fields that the document does not know."""
    raw: Json = orjson.loads(FIXTURES.read_bytes())
    schemas = document()["components"]["schemas"]
    return {name: _pruned(value, schemas[name]) for name, value in raw.items() if name in schemas}


def strict(schema: Any) -> Any:
    """The same schema, closed, with `nullable` resolved and references made absolute."""
    if not isinstance(schema, dict):
        return schema
    made: Json = {}
    for word, value in schema.items():
        if word in _SCHEMA_MAPS:
            made[word] = {name: strict(part) for name, part in value.items()}
        elif word in _SCHEMA_LISTS:
            made[word] = [strict(part) for part in value]
        elif word in _SCHEMAS:
            made[word] = strict(value)
        elif word == "$ref":
            made[word] = f"{URI}{value}"
        elif word not in {"nullable", "title", "format"}:
            made[word] = value
    if schema.get("properties"):
        made.setdefault("additionalProperties", False)
    if "maxLength" in made and made.get("enum"):
        made.pop("maxLength")
    return _with_null(made) if schema.get("nullable") else made


def _with_null(schema: Json) -> Json:
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if "type" in schema:
        made = {**schema, "type": [schema["type"], "null"]}
        return {**made, "enum": [*schema["enum"], None]} if "enum" in schema else made
    return schema


def _resolved(schema: Any) -> Json:
    """The first object schema behind references and alternatives, or {}."""
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return _resolved(document()["components"]["schemas"][name])
    for part in schema.get("anyOf", ()):
        found = _resolved(part)
        if found.get("properties"):
            return found
    return schema


def _pruned(value: Any, schema: Any) -> Any:
    """`value` without the fields that its schema does not list."""
    found = _resolved(schema)
    if isinstance(value, list):
        return [_pruned(item, found.get("items", {})) for item in value]
    known = found.get("properties")
    if not isinstance(value, dict) or not known:
        return value
    return {key: _pruned(item, known[key]) for key, item in value.items() if key in known}
