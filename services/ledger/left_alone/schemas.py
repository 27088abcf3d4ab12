"""Who is left alone, as the API takes and shows it."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from services.ledger.api.fields import CustomerId, Instant, RowId, SubscriptionId
from services.ledger.api.schemas import Body, Incoming, Outgoing, Paged
from shared import ids
from shared.recovery_model import OperatorReason


class LeftAlonePage(Paged):
    """One page of those who are left alone, newest first."""

    customer_id: CustomerId | None = None
    subscription_id: SubscriptionId | None = None


class OneLeftAlone(Incoming):
    """Which row."""

    left_alone_id: RowId


class LeaveAlone(Body):
    """Whom to leave alone: a customer or a subscription, and not both."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId | None = None
    subscription_id: SubscriptionId | None = None
    until: Instant | None = Field(None, description="business time, at most a year ahead; without it, for good")
    reason: OperatorReason = Field(OperatorReason.OTHER, strict=False)


class LeftAlone(Outgoing):
    """A customer or a subscription, by Stripe's id, that is left alone; from `until` on it is not any more."""

    id: UUID
    merchant_id: ids.MerchantId
    customer_id: ids.CustomerId | None
    subscription_id: ids.SubscriptionId | None
    until: datetime | None
    reason: OperatorReason
    created_at: datetime
