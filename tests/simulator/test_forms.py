"""Stripe's form encoding, round trip and garbage."""

import string
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stripe._encode import _api_encode

from simulator.errors import ValidationFailed
from simulator.forms import decode
from simulator.shapes import Json
from simulator.validation import stripe_api

names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
texts = st.text(max_size=20).filter(lambda text: text < "\ud800" or not any("\ud800" <= c <= "\udfff" for c in text))
leaves: list[tuple[Json, st.SearchStrategy[Any]]] = [
    ({"type": "string"}, texts),
    ({"type": "integer"}, st.integers(-(10**12), 10**12)),
    ({"type": "boolean"}, st.booleans()),
]


def _typed(depth: int) -> st.SearchStrategy[tuple[Json, Any]]:
    """A schema and a value that fits it; empty lists and objects cannot be said in a form."""
    leaf = st.sampled_from(leaves).flatmap(lambda pair: pair[1].map(lambda value: (pair[0], value)))
    if depth == 0:
        return leaf
    inner = _typed(depth - 1)
    item = st.sampled_from(leaves).flatmap(
        lambda pair: st.lists(pair[1], min_size=1, max_size=12).map(
            lambda values: ({"type": "array", "items": pair[0]}, values)
        )
    )
    return st.one_of(leaf, item, _objects(inner))


def _objects(inner: st.SearchStrategy[tuple[Json, Any]]) -> st.SearchStrategy[tuple[Json, Any]]:
    return st.dictionaries(names, inner, min_size=1, max_size=4).map(
        lambda parts: (
            {"type": "object", "properties": {name: schema for name, (schema, _) in parts.items()}},
            {name: value for name, (_, value) in parts.items()},
        )
    )


@given(_objects(_typed(2)))
def test_what_the_sdk_encodes_is_decoded_to_what_it_was(pair: tuple[Json, Json]) -> None:
    schema, value = pair
    encoded = urlencode([(key, _text(item)) for key, item in _api_encode(value)])
    assert decode(encoded, schema) == value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@example("expand[²]=", "=")  # a digit to Python, and no index
@given(st.text(max_size=80), st.sampled_from(["[", "]", "[]", "[0]", "=", "&", "expand[", "address["]))
def test_garbage_is_decoded_or_refused_and_never_breaks(noise: str, bracket: str) -> None:
    operation, _ = stripe_api().find("POST", "/v1/customers/cus_1")
    for text in (noise, noise + bracket + noise, f"address{bracket}={noise}", f"{bracket}{noise}=1"):
        with suppress(ValidationFailed):
            operation.decode(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("expand[]=a&expand[]=b", {"expand": ["a", "b"]}),
        ("expand[1]=b&expand[0]=a", {"expand": ["a", "b"]}),
        ("expand[10]=k&expand[2]=c", {"expand": ["c", "k"]}),
        ("address=", {"address": ""}),
        ("metadata[a]=1&metadata[b]=", {"metadata": {"a": "1", "b": ""}}),
        ("description=%C3%A9+x", {"description": "é x"}),
    ],
)
def test_forms_of_stripes_own_documentation(text: str, value: Json) -> None:
    operation, _ = stripe_api().find("POST", "/v1/customers/cus_1")
    assert operation.decode(text) == value
