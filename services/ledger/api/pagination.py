"""Keyset pagination with cursors: a page starts after the row where the last one ended, whatever was added since.

A cursor is the last row's sort key in base64url. It is opaque to the caller and needs no signature: every part of it is
checked, and it can only narrow a statement, in which another condition names the tenant.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import orjson

from services.ledger.api.fields import INT64_MAX
from shared.http import Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
R = TypeVar("R")


class BadCursor(Problem):
    """The text is not a cursor of this list: a 400."""

    def __init__(self) -> None:
        message = "expected next_cursor as this list gave it"
        super().__init__(
            400, "malformed-request", f"cursor: {message}.", errors=[{"field": "cursor", "message": message}]
        )


class ById(NamedTuple):
    """The end of a page that is sorted by a bigint id."""

    id: int


class ByTime(NamedTuple):
    """The end of a page that is sorted by a time, then by a uuid."""

    at: datetime
    id: UUID


def _encode(list_name: str, *parts: str | int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([list_name, *parts])).rstrip(b"=").decode()


def _decode(text: str, list_name: str, count: int) -> list[Any]:
    try:
        parts = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadCursor from error
    if not isinstance(parts, list) or len(parts) != count + 1 or parts[0] != list_name:
        raise BadCursor
    return parts[1:]


def write_by_id(list_name: str, key: ById) -> str:
    """The cursor of a list that is sorted by id."""
    return _encode(list_name, key.id)


def read_by_id(list_name: str, text: str | None) -> ById | None:
    """Where the page starts; None is the beginning. Raises BadCursor."""
    if text is None:
        return None
    (number,) = _decode(text, list_name, 1)
    if type(number) is not int or not 0 < number <= INT64_MAX:
        raise BadCursor
    return ById(number)


def write_by_time(list_name: str, key: ByTime) -> str:
    """The cursor of a list that is sorted by time and uuid; exact to the microsecond."""
    return _encode(list_name, (key.at - _EPOCH) // timedelta(microseconds=1), str(key.id))


def read_by_time(list_name: str, text: str | None) -> ByTime | None:
    """Where the page starts; None is the beginning. Raises BadCursor."""
    if text is None:
        return None
    microseconds, row_id = _decode(text, list_name, 2)
    if type(microseconds) is not int or not isinstance(row_id, str):
        raise BadCursor
    try:
        return ByTime(_EPOCH + timedelta(microseconds=microseconds), UUID(row_id))
    except (ValueError, OverflowError) as error:
        raise BadCursor from error


def cut(rows: Sequence[R], limit: int, cursor_of: Callable[[R], str]) -> tuple[Sequence[R], str | None]:
    """One page of `limit` rows, and its cursor when `rows` (read with limit + 1) holds more; None at the end."""
    page = rows[:limit]
    return page, cursor_of(page[-1]) if len(rows) > limit else None
