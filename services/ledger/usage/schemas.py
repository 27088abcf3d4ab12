"""Usage as the API takes and shows it."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from services.ledger.api.fields import (
    EXACT_MAX,
    CustomerId,
    EventName,
    Instant,
    MetricType,
    RowId,
)
from services.ledger.api.schemas import Body, Outgoing
from shared import ids


class UsageCreate(Body):
    """Usage of a merchant's customer, for the ledger and for Stripe's meter."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId
    metric_type: MetricType = Field(
        description="the ledger's name for what was used; the names of the recoveries' own numbers are refused"
    )
    amount: int = Field(ge=1, le=EXACT_MAX, description="how much, in the meter's unit")
    event_name: EventName = Field(description="the Stripe meter's event_name")
    timestamp: Instant | None = Field(
        None, description="when it was used, by default now; Stripe takes 35 days back and 5 minutes ahead"
    )


class Usage(Outgoing):
    """Usage that is in the ledger; the task reports it to Stripe."""

    id: UUID
    merchant_id: ids.MerchantId
    customer_id: ids.CustomerId
    metric_type: str
    amount: int
    event_name: str
    timestamp: datetime
    created_at: datetime
    task_id: UUID
