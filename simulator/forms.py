"""Stripe's form encoding (`a[b][0]=c`) decoded into the types that the schema asks for."""

import re
from typing import Any
from urllib.parse import parse_qsl

from simulator.shapes import Json

_INTEGER = re.compile(r"-?\d{1,18}")
_INDEX = re.compile(r"[0-9]{1,9}")  # `isdigit` would take "²", too
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def decode(text: str, schema: Json) -> Json:
    """The parameters in `text`, nested and typed as `schema` (an object schema) says.

    What cannot be made to fit is left as it came, for the validator to refuse.
    """
    if not text:
        return {}
    tree: Json = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        _put(tree, key, value)
    typed = _typed(tree, schema)
    return typed if isinstance(typed, dict) else tree


def _put(tree: Json, key: str, value: str) -> None:
    if "[" not in key:
        tree[key] = value
        return
    head, _, rest = key.partition("[")
    parts = [head, *rest.removesuffix("]").split("][")]
    node = tree
    for part in parts[:-1]:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            child = node[part] = {}
        node = child
    last = parts[-1]
    node[last or str(len(node))] = value


def _typed(value: Any, schema: Any) -> Any:
    alternatives = schema.get("anyOf") if isinstance(schema, dict) else None
    if alternatives:
        return _typed(value, _alternative(value, alternatives))
    if isinstance(value, str):
        return _scalar(value, schema.get("type"))
    if schema.get("type") == "array" and all(_INDEX.fullmatch(key) for key in value):
        ordered = sorted(value.items(), key=lambda item: int(item[0]))
        return [_typed(item, schema.get("items", {})) for _, item in ordered]
    known = schema.get("properties", {})
    extra = schema.get("additionalProperties")
    fallback = extra if isinstance(extra, dict) else {}
    return {key: _typed(item, known.get(key, fallback)) for key, item in value.items()}


def _scalar(value: str, kind: Any) -> Any:
    if kind == "integer" and _INTEGER.fullmatch(value):
        return int(value)
    if kind == "number" and _NUMBER.fullmatch(value):
        return float(value)
    if kind == "boolean" and value in {"true", "false"}:
        return value == "true"
    return value


def _alternative(value: Any, alternatives: list[Json]) -> Json:
    """The alternative that a value of this form is meant for."""
    if isinstance(value, dict):
        listed = bool(value) and all(key.isdigit() for key in value)
        wanted = ("array", "object") if listed else ("object", "array")
        for kind in wanted:
            for schema in alternatives:
                if schema.get("type") == kind:
                    return schema
        return {}
    for schema in alternatives:
        if schema.get("enum") and value in schema["enum"]:
            return schema
    for kind, pattern in (("integer", _INTEGER), ("number", _NUMBER)):
        for schema in alternatives:
            if schema.get("type") == kind and pattern.fullmatch(value):
                return schema
    for schema in alternatives:
        if schema.get("type") == "boolean" and value in {"true", "false"}:
            return schema
    return next((schema for schema in alternatives if schema.get("type") == "string"), {})
