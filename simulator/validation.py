"""Every request and, on demand, every answer checked against Stripe's OpenAPI document.

jsonschema-rs says yes or no in microseconds; only a no is walked in Python to name the parameter
that is wrong, as Stripe does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs

from simulator.errors import ApiError, ValidationFailed, unknown_url
from simulator.forms import decode
from simulator.shapes import Json
from simulator.stripe_document import URI, document, strict


class AnswerInvalid(Exception):
    """The simulator's own answer breaks Stripe's schema: a bug of the simulator, never of the product."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path of the document, compiled."""

    method: str
    template: str
    segments: tuple[str, ...]
    params: Json
    params_valid: jsonschema_rs.Draft4Validator
    answer: Json

    def decode(self, text: str) -> Json:
        """The typed parameters in a query string or form body; ValidationFailed when they do not fit."""
        params = decode(text, self.params)
        if not self.params_valid.is_valid(params):
            raise complaint(params, self.params, "") or ValidationFailed(400, "Invalid parameters.")
        return params

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The path's parameters by name, or None when this is another path."""
        found = {}
        for expected, given in zip(self.segments, segments, strict=True):
            if expected.startswith("{"):
                found[expected[1:-1]] = given
            elif expected != given:
                return None
        return found


class Document:
    """The operations of the document, found by method and path."""

    def __init__(self) -> None:
        self._registry = jsonschema_rs.Registry([(URI, document())])
        self._operations: dict[tuple[str, int], list[Operation]] = {}
        self._schemas: dict[str, jsonschema_rs.Draft4Validator] = {}
        # Compiled when first needed: all of them together take 100 MB.
        self._answers: dict[str, jsonschema_rs.Draft4Validator] = {}
        for template, methods in document()["paths"].items():
            for method, raw in methods.items():
                operation = self._compile(method.upper(), template, raw)
                key = (operation.method, len(operation.segments))
                self._operations.setdefault(key, []).append(operation)
        for found in self._operations.values():
            # A literal segment wins over a placeholder, as in `/v1/invoices/upcoming`.
            found.sort(key=lambda operation: operation.template.count("{"))

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]]:
        """The operation at this address and its path parameters; a 404 ApiError if there is none."""
        segments = tuple(path.strip("/").split("/"))
        for operation in self._operations.get((method, len(segments)), ()):
            found = operation.match(segments)
            if found is not None:
                return operation, found
        raise unknown_url(method, path)

    def operations(self) -> list[Operation]:
        """All of them, for tests that walk the document."""
        return [operation for found in self._operations.values() for operation in found]

    def check_answer(self, operation: Operation, answer: Json) -> None:
        """Raises AnswerInvalid when an answer (before expansion) breaks the operation's schema."""
        name = f"{operation.method} {operation.template}"
        if name not in self._answers:
            self._answers[name] = self._validator(operation.answer)
        self._check(self._answers[name], answer, name)

    def check_resource(self, name: str, value: Json) -> None:
        """Raises AnswerInvalid when an object breaks the schema of that name."""
        if name not in self._schemas:
            schema = {"$ref": f"{URI}#/components/schemas/{name}"}
            self._schemas[name] = self._validator(schema)
        self._check(self._schemas[name], value, name)

    def _check(self, validator: jsonschema_rs.Draft4Validator, value: Json, what: str) -> None:
        if not validator.is_valid(value):
            reasons = [
                f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
                for error in validator.iter_errors(value)
            ]
            raise AnswerInvalid(f"{what}: " + "; ".join(reasons))

    def _validator(self, schema: Json) -> jsonschema_rs.Draft4Validator:
        return jsonschema_rs.Draft4Validator(schema, registry=self._registry)

    def _compile(self, method: str, template: str, raw: Json) -> Operation:
        body = raw["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        params = strict(body)
        query = [found for found in raw.get("parameters", ()) if found["in"] == "query"]
        params = {**params, "additionalProperties": False}
        params["properties"] = {
            **params.get("properties", {}),
            **{found["name"]: strict(found["schema"]) for found in query},
        }
        required = [found["name"] for found in query if found.get("required")]
        if required:
            params["required"] = [*params.get("required", ()), *required]
        answer = strict(raw["responses"]["200"]["content"]["application/json"]["schema"])
        return Operation(
            method=method,
            template=template,
            segments=tuple(template.strip("/").split("/")),
            params=params,
            params_valid=self._validator(params),
            answer=answer,
        )


@cache
def stripe_api() -> Document:
    """The compiled document; compiling takes some 0.3 s, so it is shared by all simulators."""
    return Document()


def complaint(value: Any, schema: Json, path: str) -> ApiError | None:
    """What Stripe would say about a value that does not fit, or None when it fits."""
    if "anyOf" in schema:
        return _complaint_of_any(value, schema["anyOf"], path)
    kind = schema.get("type")
    if kind == "object":
        return _complaint_of_object(value, schema, path)
    if kind == "array":
        if not isinstance(value, list):
            return ValidationFailed(400, "Invalid array", param=path)
        for index, item in enumerate(value):
            found = complaint(item, schema.get("items", {}), f"{path}[{index}]")
            if found:
                return found
        return None
    return _complaint_of_scalar(value, schema, path)


def _complaint_of_any(value: Any, alternatives: list[Json], path: str) -> ApiError | None:
    found = [complaint(value, part, path) for part in alternatives]
    if None in found:
        return None
    wanted = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "string"
    for part, problem in zip(alternatives, found, strict=True):
        if part.get("type") == wanted:
            return problem
    return found[0]


def _complaint_of_object(value: Any, schema: Json, path: str) -> ApiError | None:
    if not isinstance(value, dict):
        return ValidationFailed(400, "Invalid object", param=path)
    known = schema.get("properties", {})
    extra = schema.get("additionalProperties", True)
    unknown = [name for name in value if name not in known]
    if unknown and extra is False:
        names = [_named(path, name) for name in unknown]
        plural = "s" if len(names) > 1 else ""
        text = f"Received unknown parameter{plural}: {', '.join(names)}"
        return ValidationFailed(400, text, code="parameter_unknown", param=names[0])
    for name in schema.get("required", ()):
        if name not in value:
            where = _named(path, name)
            text = f"Missing required param: {where}."
            return ValidationFailed(400, text, code="parameter_missing", param=where)
    for name, item in value.items():
        part = known.get(name, extra if isinstance(extra, dict) else {})
        found = complaint(item, part, _named(path, name))
        if found:
            return found
    return None


# type: (what a value of it is, Stripe's words for one that is not, Stripe's code)
_SCALARS: dict[str, tuple[Callable[[Any], bool], str, str | None]] = {
    "integer": (lambda value: isinstance(value, int), "integer", "parameter_invalid_integer"),
    "boolean": (lambda value: isinstance(value, bool), "boolean", None),
    "number": (lambda value: isinstance(value, int | float), "decimal", None),
    "string": (lambda value: isinstance(value, str), "string", "parameter_invalid_string"),
}


def _complaint_of_scalar(value: Any, schema: Json, path: str) -> ApiError | None:
    kind = schema.get("type")
    if kind in _SCALARS:
        is_one, word, code = _SCALARS[kind]
        if not is_one(value):
            return ValidationFailed(400, f"Invalid {word}: {value}", code=code, param=path)
    if "enum" in schema and value not in schema["enum"]:
        text = f"Invalid {path}: must be one of {', '.join(map(str, schema['enum']))}"
        return ValidationFailed(400, text, param=path)
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        text = f"Invalid string: must be at most {schema['maxLength']} characters"
        return ValidationFailed(400, text, param=path)
    return None


def _named(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name
