"""The document is made from the route table, whole and well-formed."""

from typing import Any

import pytest
from openapi_pydantic import OpenAPI

from services.ledger.api.endpoint import KeyUse
from services.ledger.api.openapi import document
from services.ledger.routes import ENDPOINTS

DOCUMENT = document(ENDPOINTS)


def operation(name: str) -> Any:
    """An operation by its id."""
    return next(found for path in DOCUMENT["paths"].values() for found in path.values() if found["operationId"] == name)


def test_it_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    OpenAPI.model_validate(DOCUMENT)


def test_every_endpoint_is_in_it_once_with_its_scope() -> None:
    assert sum(len(path) for path in DOCUMENT["paths"].values()) == len(ENDPOINTS)
    assert len({endpoint.name for endpoint in ENDPOINTS}) == len(ENDPOINTS)
    for endpoint in ENDPOINTS:
        assert f"`{endpoint.scope}`" in operation(endpoint.name)["description"]
        assert operation(endpoint.name)["security"] == [{"apiKey": []}]


def test_every_reference_leads_somewhere() -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for item in value.values() for found in references(item)]
        return [found for item in value for found in references(item)] if isinstance(value, list) else []

    found = references(DOCUMENT)
    assert found
    assert {name.removeprefix("#/components/schemas/") for name in found} <= set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_what_an_endpoint_takes_is_documented(endpoint: Any) -> None:
    documented = operation(endpoint.name)
    parameters = {(item["in"], item["name"]): item for item in documented.get("parameters", [])}
    fields = {field.alias or name for name, field in endpoint.parameters.model_fields.items()}
    assert {name for where, name in parameters if where != "header"} == fields
    assert {name for where, name in parameters if where == "path"} == {
        name for name in fields if f"{{{name}}}" in endpoint.path
    }
    assert (("header", "Idempotency-Key") in parameters) == (endpoint.key_use is not KeyUse.NONE)
    assert (("header", "If-Match") in parameters) == endpoint.takes_if_match
    assert ("requestBody" in documented) == endpoint.takes_body
    assert {"400", "401", "403", "500", "503", str(endpoint.status)} <= set(documented["responses"])
    assert ("415" in documented["responses"]) == endpoint.takes_body


def test_only_usage_must_have_an_idempotency_key() -> None:
    required = [endpoint.name for endpoint in ENDPOINTS if endpoint.key_use is KeyUse.REQUIRED]
    assert required == ["recordUsage"]
    (header,) = (item for item in operation("recordUsage")["parameters"] if item["name"] == "Idempotency-Key")
    assert header["required"] is True


def test_no_answer_has_a_field_for_a_secret() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field in schema.get("properties", {}):
            assert not any(word in field for word in ("token", "secret", "hash", "email", "fingerprint")), (name, field)
