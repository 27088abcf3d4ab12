"""The types of single fields of the API.

Pydantic's own types accept more than their JSON schemas say (a UUID in braces, a date-time that is a number in quotes).
These accept exactly what the OpenAPI document says. None accepts a NUL, which PostgreSQL's text cannot hold.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from shared import ids

INT64_MAX = 2**63 - 1
EXACT_MAX = 2**53 - 1
"""The largest whole number that every JSON parser reads exactly (RFC 8259, section 6)."""
MAX_DEPTH = 32

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_RESERVED = re.compile(r"recovery_.*|attempt|message|refunded|disputed|won_back")
_COUNT = re.compile(r"[0-9]{1,9}")


def _row_id(value: Any) -> UUID:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("expected a UUID: 8-4-4-4-12 hexadecimal digits")
    return UUID(value)


def _day(value: Any) -> date:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("expected a date: YYYY-MM-DD")
    return date.fromisoformat(value)


def _instant(value: Any) -> datetime:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value.upper()):
        raise ValueError("expected a date-time with its offset (RFC 3339): 2026-01-31T09:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a date-time in the years 1 to 9999 (UTC)") from None


def _own_metric(value: str) -> str:
    if _RESERVED.fullmatch(value):
        raise ValueError(f"{value} is reserved for the recoveries' own numbers")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, str) or not _COUNT.fullmatch(value):
        raise ValueError("expected a whole number")
    return int(value)


RowId = Annotated[UUID, BeforeValidator(_row_id), WithJsonSchema({"type": "string", "format": "uuid"})]
RecoveryId = Annotated[ids.RecoveryId, BeforeValidator(_row_id), WithJsonSchema({"type": "string", "format": "uuid"})]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
Limit = Annotated[int, Field(ge=1, le=200), BeforeValidator(_count)]

InvoiceId = Annotated[ids.InvoiceId, Field(pattern=r"^in_[A-Za-z0-9_]{1,250}$")]
SubscriptionId = Annotated[ids.SubscriptionId, Field(pattern=r"^sub_[A-Za-z0-9_]{1,250}$")]
CustomerId = Annotated[ids.CustomerId, Field(pattern=r"^cus_[A-Za-z0-9_]{1,250}$")]
Currency = Annotated[str, Field(pattern=r"^[a-z]{3}$", description="ISO 4217, lowercase")]
TaskType = Annotated[str, Field(pattern=r"^[a-z_]{1,64}$")]
MetricType = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_.]{0,63}$",
        json_schema_extra={"not": {"pattern": f"^({_RESERVED.pattern})$"}},
    ),
    AfterValidator(_own_metric),
]
UniqueKey = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
EventName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
CursorText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")]

IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
"""A valid Idempotency-Key: 1 to 255 printable ASCII characters without spaces (for example a UUID)."""


def unstorable(value: Any, where: str = "", depth: int = 0) -> tuple[str, str] | None:
    """The first part of a parsed JSON value that PostgreSQL's jsonb or this API cannot hold: (field, why), or None."""
    if depth > MAX_DEPTH:
        return where, f"nested deeper than {MAX_DEPTH} levels"
    parts: Iterable[tuple[Any, Any]]
    match value:
        case str():
            return (where, "contains the character U+0000") if "\0" in value else None
        case dict():
            parts = value.items()
        case list():
            parts = enumerate(value)
        case _:
            return None
    for name, item in parts:
        if "\0" in str(name):
            return where, "has a name that contains the character U+0000"
        inner = f"{where}.{name}" if where else str(name)
        if problem := unstorable(item, inner, depth + 1):
            return problem
    return None
