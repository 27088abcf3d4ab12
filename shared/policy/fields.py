"""What the parts of a policy have in common: how a part behaves, and fields of several of them."""

from collections.abc import Mapping
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone of the IANA database") from error
    return name


Hour = Annotated[int, Field(ge=0, le=23)]
Zone = Annotated[str, AfterValidator(_known_zone)]


class Document(BaseModel):
    """A part of a policy: it never changes, and has no fields but those that are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __hash__(self) -> int:
        # Pydantic's own hash would fail on the mappings, which nobody changes.
        values = self.__dict__.values()
        return hash(tuple(frozenset(each.items()) if isinstance(each, Mapping) else each for each in values))
