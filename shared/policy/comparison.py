"""The differences between two policies, value by value."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from shared.policy.document import Policy


@dataclass(frozen=True, slots=True)
class Difference:
    """A place in the document and its value in each; null where there is none."""

    place: str
    before: JsonValue
    after: JsonValue


def differences(before: Policy, after: Policy) -> list[Difference]:
    """All differences, in the order of the document. Lists of plain values are compared as a whole."""
    return list(_between("", before.model_dump(mode="json"), after.model_dump(mode="json")))


def _between(place: str, before: JsonValue, after: JsonValue) -> Iterator[Difference]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            yield from _between(_inside(place, name), before.get(name), after.get(name))
    elif _has_parts(before) and _has_parts(after) and isinstance(before, list) and isinstance(after, list):
        for number in range(max(len(before), len(after))):
            yield from _between(_inside(place, str(number)), _at(before, number), _at(after, number))
    else:
        yield Difference(place, before, after)


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _has_parts(value: JsonValue) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)


def _at(values: list[JsonValue], number: int) -> JsonValue:
    return values[number] if number < len(values) else None
