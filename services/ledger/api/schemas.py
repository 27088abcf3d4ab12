"""Pydantic models that all requests and answers share; the OpenAPI document is made from them.

Requests with unknown fields are refused, and bodies are strict (a number in quotes is not a number). Answers always
have every field; null means that there is no value. Amounts are whole minor units of the currency beside them.
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
    """A body: parsed JSON, without conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Outgoing(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


class NoBody(Body):
    """The body of an endpoint that reads none."""


class OfMerchant(Incoming):
    """Whose rows to read: one merchant's; with a platform's key and without `merchant_id` those of all."""

    merchant_id: RowId | None = None


class Paged(OfMerchant):
    """One page of a list, newest first."""

    limit: Limit = 50
    cursor: CursorText | None = Field(None, description="next_cursor of the page before")


class NoParameters(Incoming):
    """The parameters of an endpoint that has none."""


class Page(Outgoing, Generic[T]):
    """One page; `next_cursor` is null on the last."""

    data: list[T]
    next_cursor: str | None


class Changed(Outgoing):
    """How many rows a call changed. `more`: it stopped at its limit, call again."""

    changed: int
    more: bool


class FieldError(BaseModel):
    """One wrong field."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """An error (RFC 9457). `type` is stable; `errors` is present when single fields are wrong."""

    type: str
    title: str
    status: int
    detail: str
    request_id: UUID
    errors: list[FieldError] | None = None
