"""What every part of an API takes and gives, as pydantic models; the OpenAPI document is made from them.

What comes in forbids unknown fields, and bodies are strict (a number in quotes is not a number). What goes out has
every field, always; null says that there is no value. Amounts are whole minor units of the currency beside them.
"""

from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.ledger.api.fields import (
    CursorText,
    Limit,
    RowId,
)

T = TypeVar("T", bound=BaseModel)


class Incoming(BaseModel):
    """Parameters: texts from path and query."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """A body: parsed JSON, taken as it is."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Outgoing(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


class NoBody(Body):
    """Of an endpoint that reads no body."""


class OfMerchant(Incoming):
    """What to read: one merchant, or with a platform's key and without `merchant_id` all of them."""

    merchant_id: RowId | None = None


class Paged(OfMerchant):
    """One page of a list, newest first."""

    limit: Limit = 50
    cursor: CursorText | None = Field(None, description="next_cursor of the page before")


class NoParameters(Incoming):
    """Of an endpoint that takes none."""


class Page(Outgoing, Generic[T]):
    """One page; `next_cursor` is null on the last."""

    data: list[T]
    next_cursor: str | None


class Changed(Outgoing):
    """How many rows a call changed. `more`: it stopped at its limit, call again."""

    changed: int
    more: bool


class FieldError(BaseModel):
    """One thing that is wrong."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """An error (RFC 9457). `type` is stable; `errors` is there when single fields are wrong."""

    type: str
    title: str
    status: int
    detail: str
    request_id: UUID
    errors: list[FieldError] | None = None
