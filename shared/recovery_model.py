"""What a recovery is: its states, its ends, and the entries of its timeline. Values only; `recoveries` changes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.ids import ChargeId, CustomerId, InvoiceId, MerchantId, PaymentIntentId, SubscriptionId
from shared.money import Money

STRIPE_NEXT = "stripe_next_attempt_at"
"""The key in an entry's detail for the time of Stripe's own next attempt; missing when there is none."""

INVOICE_CHANGED = "invoice_changed"
"""The rule of an entry that notes an event about a change in how the invoice will be collected."""

COLLECTION_OFF = "collection_turned_off"
COLLECTION_ON = "collection_turned_on"
"""The rules of entries that note that the merchant turned automatic collection of the invoice off, and on again; the
last one holds."""

SUBSCRIPTION_CHANGED = "subscription_changed"
"""The rule of an entry that notes an event about a subscription that is paused, ends, or is collected otherwise."""

CANCELED_BY_OPERATOR = "canceled_by_operator"
WANTED_AGAIN = "wanted_again"
"""The rules of entries that note that an operator took a task of the recovery away, and wants it after all."""

LEFT_ALONE = "left_alone"
LIFTED = "left_alone_lifted"
"""The rules of entries that note that the customer or the subscription is left alone, and that it is not any more."""

ADDRESS_CHANGED = "address_changed"
"""The rule of an entry that notes that the customer has an email address, or another one."""
FAILED_AGAIN = "failed_again"
"""The rule of an entry that notes that an attempt failed while the recovery waits for its customer."""
PAID_SOMEHOW = "paid_somehow"
"""The rule of an entry that notes that the invoice was paid, at Stripe or elsewhere, by whomever."""
PAYMENT_NEWS = "payment_news"
"""The rule of an entry that notes an event about a payment of the invoice that takes days: begun, or ended."""


CREDITED = "The invoice was settled without a payment: it was credited."
"""Why a recovery ended of which nothing was paid."""
CARD_CHANGED = "card_changed"
"""The rule of an entry that notes an event about a payment method that was added or changed."""


class RecoveryState(StrEnum):
    """A recovery's state; the drawing is in `shared/recoveries.py`."""

    OPEN = "open"
    WAITING = "waiting"
    ATTEMPTING = "attempting"
    PROCESSING = "processing"
    ACTION_REQUIRED = "action_required"
    NEEDS_NEW_METHOD = "needs_new_method"
    RECOVERED = "recovered"
    EXHAUSTED = "exhausted"
    STOPPED = "stopped"

    @property
    def ended(self) -> bool:
        """Whether it is an end state."""
        return self in ENDS

    @property
    def may_have_charged(self) -> bool:
        """Whether a payment is on its way, whose outcome decides: our call, or a bank debit of whoever began it."""
        return self in {RecoveryState.ATTEMPTING, RecoveryState.PROCESSING}


ENDS = frozenset({RecoveryState.RECOVERED, RecoveryState.EXHAUSTED, RecoveryState.STOPPED})

TRANSITIONS: Mapping[RecoveryState, frozenset[RecoveryState]] = {
    **{state: frozenset(RecoveryState) - {state, RecoveryState.OPEN} for state in RecoveryState if state not in ENDS},
    RecoveryState.RECOVERED: frozenset(),
    # Money that is ours and comes late; and a merchant that had left and comes back.
    RecoveryState.EXHAUSTED: frozenset({RecoveryState.RECOVERED}),
    RecoveryState.STOPPED: frozenset({RecoveryState.RECOVERED, RecoveryState.OPEN}),
}


class RecoveredBy(StrEnum):
    """What brought the money in: our attempt, or our message to the customer."""

    RETRY = "retry"
    MESSAGE = "message"


class EndReason(StrEnum):
    """Why a recovery ended, or is to end: `recoveries.end_reason` and `stop_requested`."""

    PAID_BY_RETRY = "paid_by_retry"
    PAID_AFTER_MESSAGE = "paid_after_message"
    PAID_ELSEWHERE = "paid_elsewhere"
    CREDITED = "credited"
    VOIDED = "voided"
    MARKED_UNCOLLECTIBLE = "marked_uncollectible"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    SUBSCRIPTION_CANCELED = "subscription_canceled"
    CUSTOMER_DELETED = "customer_deleted"
    COLLECTED_BY_HAND = "collected_by_hand"
    BELOW_MINIMUM = "below_minimum_amount"
    BELOW_STRIPES_MINIMUM = "below_stripes_minimum"
    INVOICE_MISSING = "invoice_missing"
    MERCHANT_GONE = "merchant_gone"
    WINDOW_OVER = "window_over"
    ATTEMPTS_USED_UP = "attempts_used_up"
    STOPPED_BY_OPERATOR = "stopped_by_operator"
    SUBSCRIPTION_ENDING = "subscription_ending"


class OperatorReason(StrEnum):
    """Why a person stops a recovery, or has a customer or a subscription left alone. Codes, never a free text, which
    could hold personal data."""

    CUSTOMER_REQUEST = "customer_request"
    ARRANGED_OTHERWISE = "arranged_otherwise"
    HARDSHIP = "hardship"
    BILLING_MISTAKE = "billing_mistake"
    SUSPECTED_FRAUD = "suspected_fraud"
    OTHER = "other"


class EntryKind(StrEnum):
    """What an entry of the timeline tells: `recovery_timeline.kind`."""

    OPENED = "opened"
    DECIDED = "decided"
    ATTEMPTED = "attempted"
    CHANGED = "changed"
    MESSAGED = "messaged"
    PRINTED = "printed"
    NOT_MESSAGED = "not_messaged"
    UNDELIVERED = "undelivered"
    SILENCED = "silenced"
    SILENCE_LIFTED = "silence_lifted"
    STOP_REQUESTED = "stop_requested"
    CLOSED = "closed"
    REOPENED = "reopened"
    THANKED = "thanked"
    END_ACTION = "end_action"
    END_TOLD = "end_told"
    MERCHANT_TOLD = "merchant_told"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    DISPUTED = "disputed"
    DISPUTE_WON = "dispute_won"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the timeline: what happened, and why. `detail` holds ids, codes, amounts and times only."""

    kind: EntryKind
    rule: str
    explanation: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    next_step: str | None = None
    next_at: datetime | None = None

    def with_reason(self, next_step: str, *refused: str) -> "Entry":
        """The entry in the form of a decision: `detail.reason` holds its rule, its inputs and the actions that were
        considered and not taken. An entry that has a reason keeps it, and so does one with a next step."""
        entry = self
        if "reason" not in self.detail:
            reason = {
                "rule": self.rule,
                "text": self.explanation,
                "inputs": dict(self.detail),
                "considered": [{"action": action, "rejected_because": self.explanation} for action in refused],
            }
            entry = replace(self, detail={**self.detail, "reason": reason})
        return entry if entry.next_step is not None else replace(entry, next_step=next_step)


class BillingReason(StrEnum):
    """Why Stripe made an invoice by itself, so that nobody sees its payment fail; Stripe's `billing_reason`.

    The other reasons are somebody's action: onboarding, an upgrade, an invoice made by hand. Source:
    https://docs.stripe.com/api/invoices/object#invoice_object-billing_reason, read November 2026.
    """

    CYCLE = "subscription_cycle"  # a renewal
    THRESHOLD = "subscription_threshold"  # usage reached the subscription's threshold in the middle of a period
    PENDING_ITEMS = "automatic_pending_invoice_item_invoice"  # pending items are billed at an interval of their own


@dataclass(frozen=True, slots=True)
class FailedInvoice:
    """What is known when a recovery opens: `amount` is what was due, `paid_before` what had been paid by then."""

    merchant_id: MerchantId
    invoice_id: InvoiceId
    subscription_id: SubscriptionId | None
    customer_id: CustomerId | None
    amount: Money
    billing_reason: BillingReason = BillingReason.CYCLE
    paid_before: int = 0


@dataclass(frozen=True, slots=True)
class MovedMoney:
    """A charge that succeeded: its own amount, currency and time."""

    charge_id: ChargeId
    payment_intent_id: PaymentIntentId | None
    amount: Money
    at: datetime
