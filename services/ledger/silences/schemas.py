"""Silences as the API takes and shows them."""

from datetime import datetime

from pydantic import Field

from services.ledger.api.fields import (
    CustomerId,
    RowId,
)
from services.ledger.api.schemas import Body, Outgoing, Paged
from shared import ids
from shared.silences import SilenceReason


class CustomerPage(Paged):
    """One page of rows about customers, newest first."""

    customer_id: CustomerId | None = None


class SilenceStart(Body):
    """The customer to silence, and why."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId
    reason: SilenceReason = Field(SilenceReason.OPTED_OUT, strict=False)


class SilenceEnd(Body):
    """The customer whose silence to lift."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId
    reason: SilenceReason | None = Field(
        None, strict=False, description="this silence only; without it, all of the customer's"
    )


class Silence(Outgoing):
    """A customer who gets no messages, by Stripe's id, and why. A customer may have several silences."""

    merchant_id: ids.MerchantId
    customer_id: ids.CustomerId
    reason: SilenceReason
    silenced_at: datetime
