"""Recoveries, their attempts and their timelines as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from services.ledger.api.fields import (
    Currency,
    CustomerId,
    Instant,
    InvoiceId,
    RecoveryId,
    RowId,
    SubscriptionId,
)
from services.ledger.api.schemas import Body, Incoming, OfMerchant, Outgoing, Paged
from shared import ids
from shared.recovery_model import OperatorReason, RecoveryState


class RecoveryMatch(OfMerchant):
    """`opened_from` is included, `opened_to` is not."""

    state: RecoveryState | None = None
    invoice_id: InvoiceId | None = None
    subscription_id: SubscriptionId | None = None
    customer_id: CustomerId | None = None
    currency: Currency | None = None
    opened_from: Instant | None = None
    opened_to: Instant | None = None


class RecoveryFilter(RecoveryMatch, Paged):
    """One page of the recoveries that match, newest first. `attention`: only those that need it, or that do not."""

    attention: bool | None = None


class OneRecovery(Incoming):
    """Which recovery."""

    recovery_id: RecoveryId


class Stop(Body):
    """Why a person stops a recovery: a code, because a free text could hold personal data."""

    reason: OperatorReason = Field(OperatorReason.OTHER, strict=False)


class RecoverySelection(Stop):
    """The open recoveries of a customer, of a subscription or, without either, of a merchant."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId | None = None
    subscription_id: SubscriptionId | None = None


class Recovery(Outgoing):
    """A failed invoice, and the state of its recovery.

    `attention` is the type of its task that died and that no newer one has replaced; or why a task of it is held, as in
    the merchant's `attention`. Somebody should look at it.
    """

    id: UUID
    merchant_id: ids.MerchantId
    invoice_id: ids.InvoiceId
    subscription_id: ids.SubscriptionId | None
    customer_id: ids.CustomerId | None
    state: RecoveryState
    end_reason: str | None
    stop_requested: str | None
    amount_due: int
    currency: str
    amount_recovered: int = Field(description="what was booked when it was recovered; what was taken back follows")
    amount_refunded: int = Field(description="refunded of it since, less refunds that failed")
    amount_disputed: int = Field(description="withdrawn of it by disputes")
    amount_won_back: int = Field(description="what came back of that, because the dispute was won")
    recovered_by: Literal["retry", "message"] | None
    decline_cause: str | None
    policy_id: UUID
    opened_at: datetime
    next_attempt_at: datetime | None
    closed_at: datetime | None
    updated_at: datetime
    attention: str | None


class Attempt(Outgoing):
    """One attempt to collect, by The Citadel or by Stripe."""

    id: UUID
    origin: Literal["citadel", "stripe"]
    number: int
    result: Literal[
        "started", "processing", "succeeded", "declined", "requires_action", "failed", "abandoned", "unknown"
    ]
    amount: int
    currency: str
    payment_method_id: ids.PaymentMethodId | None
    card_network: str | None
    card_country: str | None
    payment_intent_id: ids.PaymentIntentId | None
    charge_id: ids.ChargeId | None
    error_code: str | None
    decline_code: str | None
    advice_code: str | None
    network_decline_code: str | None
    network_advice_code: str | None
    predicted_chance: float | None = Field(
        description="how likely it was to succeed, by its plan, from 0 to 1; null where nothing predicts that"
    )
    after_cause: str | None = Field(description="the cause of the decline that the prediction is about")
    started_at: datetime
    finished_at: datetime | None


class TimelineEntry(Outgoing):
    """What happened to a recovery, by which rule, and what comes next."""

    at: datetime
    kind: str
    from_state: RecoveryState | None
    to_state: RecoveryState | None
    rule: str
    explanation: str
    detail: dict[str, Any]
    next_step: str | None
    next_at: datetime | None


class CardWarning(Outgoing):
    """A customer was warned before a renewal that a card will have expired; once per card and its last month."""

    merchant_id: ids.MerchantId
    customer_id: ids.CustomerId
    payment_method_id: ids.PaymentMethodId
    exp_month: int
    exp_year: int
    warned_at: datetime


class RecoveryStory(Recovery):
    """A recovery with all its attempts and its whole timeline, oldest first.

    `card_warnings` are those that its customer got before it ended.
    """

    attempts: list[Attempt]
    timeline: list[TimelineEntry]
    card_warnings: list[CardWarning]


class Activity(TimelineEntry):
    """A timeline entry, and the recovery that it belongs to."""

    id: int
    recovery_id: ids.RecoveryId
    merchant_id: ids.MerchantId
