"""Reads world documents: gives all problems at once, each with its place.

What a file leaves out is as in the world `as_made`: a whole group, or a field of a group. Lists are given whole, and so
is `funds`, whose fields depend on its kind.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import orjson
from pydantic import ValidationError

from console.evaluation.worlds.document import World, WorldFields
from shared.places import place_in

BASE: Final = "as_made"
_GROUPS: Final = ("renewals", "causes", "wages", "banks", "messages", "alone")
_SHIPPED: Final = files("console.evaluation.worlds.shipped")


@dataclass(frozen=True, slots=True)
class WorldProblem:
    """`place` is the path to the value (`wages.sets.0.groups.1.share`), empty for the document itself."""

    place: str
    message: str


class WorldRefused(ValueError):
    """The document is not a world; `problems` lists all reasons."""

    def __init__(self, problems: list[WorldProblem]) -> None:
        super().__init__("; ".join(f"{each.place or 'the document'}: {each.message}" for each in problems))
        self.problems = problems


def read_world(document: object) -> World:
    """The world that a JSON document is. Raises WorldRefused."""
    problems = problems_of(document)
    if problems:
        raise WorldRefused(problems)
    return World.model_validate(_completed(document))


def problems_of(document: object) -> list[WorldProblem]:
    """All problems of a JSON document; empty when it is a world.

    Contradictions between the valid values are listed even when other values are invalid.
    """
    whole = _completed(document)
    try:
        fields = WorldFields.model_validate(whole)
    except ValidationError as error:
        found = list(_problems(whole, error))
        broken = {each.place.split(".")[0] for each in found}
        if not isinstance(whole, Mapping) or "" in broken:
            return found
        # The broken groups are looked at as they would be if the file did not name them.
        known = {name: value for name, value in whole.items() if name not in broken}
        fields = WorldFields.model_validate({**_base(), **known})
        about_the_rest = [each for each in fields.contradictions() if each.place.split(".")[0] not in broken]
        return found + [WorldProblem(each.place, each.message) for each in about_the_rest]
    return [WorldProblem(each.place, each.message) for each in fields.contradictions()]


def _problems(document: object, error: ValidationError) -> Iterator[WorldProblem]:
    errors = error.errors(include_url=False, include_input=False)
    for each in errors:
        loc = each["loc"]
        # pydantic calls a list too short if what it refused inside does not count.
        is_echo = each["type"] == "too_short" and any(one["loc"][: len(loc)] == loc != one["loc"] for one in errors)
        if not is_echo:
            yield WorldProblem(place_in(document, loc), each["msg"].removeprefix("Value error, "))


@cache
def shipped_names() -> tuple[str, ...]:
    """The names of the worlds that are shipped; `as_made` first."""
    names = sorted(each.name.removesuffix(".json") for each in _SHIPPED.iterdir() if each.name.endswith(".json"))
    return BASE, *(name for name in names if name != BASE)


@cache
def shipped(name: str) -> World:
    """A shipped world. Raises KeyError when there is none of this name."""
    if name not in shipped_names():
        raise KeyError(name)
    return read_world(_content(name))


def as_made() -> World:
    """The world that the project was made in."""
    return shipped(BASE)


def _completed(document: object) -> Any:
    if not isinstance(document, Mapping):
        return document
    base = {name: value for name, value in _base().items() if name not in ("name", "about")}
    groups = {
        name: {**base[name], **given}
        for name in _GROUPS
        if isinstance(given := document.get(name), Mapping)  # anything else is for pydantic to refuse
    }
    return {**base, **document, **groups}


@cache
def _base() -> dict[str, Any]:
    found: dict[str, Any] = _content(BASE)
    return found


def _content(name: str) -> Any:
    return orjson.loads((_SHIPPED / f"{name}.json").read_bytes())
