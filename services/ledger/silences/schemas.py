"""Silences as the API takes and shows them."""

from datetime import datetime

from pydantic import Field

from services.ledger.api.fields import (
    CustomerId,
    RowId,
)
from services.ledger.api.schemas import Body, Outgoing, Paged
from shared.silences import SilenceReason


class CustomerPage(Paged):
    """One page of what is kept about customers, newest first."""

    customer_id: CustomerId | None = None


class SilenceStart(Body):
    """Who is not to be written to any more, and why."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId
    reason: SilenceReason = Field(SilenceReason.OPTED_OUT, strict=False)


class SilenceEnd(Body):
    """Who is to be written to again."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId
    reason: SilenceReason | None = Field(
        None, strict=False, description="this silence only; without it, all of the customer's"
    )


class Silence(Outgoing):
    """A customer that is not written to, by Stripe's id, and why. One may have several."""

    merchant_id: str
    customer_id: str
    reason: SilenceReason
    silenced_at: datetime
