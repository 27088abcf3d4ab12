"""The types of the recovery brain: what happened, what is true now, and what to do next.

Every time is an aware datetime in UTC; a naive one is refused. Nothing here holds a customer's data: only ids, codes,
amounts and times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from shared.ids import InvoiceId, PaymentMethodId
from shared.money import Money
from shared.policy import DeclineCause, EndAction
from shared.recovery_model import EndReason

JsonScalar = str | int | float | bool | None


def as_utc(name: str, at: datetime) -> datetime:
    """`at` in UTC. Raises ValueError for a naive time, which Python would read in the machine's own zone.

    In UTC, because Python adds hours to a local time by wall-clock time, which jumps twice a year.
    """
    if at.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime (UTC), not the naive {at.isoformat()}")
    return at.astimezone(UTC)


class Origin(StrEnum):
    """Who made an attempt: we, or Stripe's own automatic collection."""

    CITADEL = "citadel"
    STRIPE = "stripe"


class AttemptResult(StrEnum):
    """How an attempt ended.

    started: the call may be in flight. unknown: the call has ended, its outcome is not known yet. processing: a bank
    debit is under way, for days. succeeded, declined, requires_action: the bank's answer. failed: nothing was charged,
    for a reason other than a decline. abandoned: the call never reached Stripe; it uses up no budget.
    """

    STARTED = "started"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    REQUIRES_ACTION = "requires_action"
    FAILED = "failed"
    ABANDONED = "abandoned"
    UNKNOWN = "unknown"


class InvoiceStatus(StrEnum):
    """Stripe's `invoice.status`."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


@dataclass(frozen=True, slots=True)
class Decline:
    """A decline as Stripe reports it: codes of the error, the PaymentIntent and the charge's outcome."""

    code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    network_decline_code: str | None = None
    network_advice_code: str | None = None


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """One attempt, Stripe's or ours. `number` counts ours; `at` is when it began.

    `error_code` says why Stripe refused to make it, if it failed without a decline.
    `answered_at` is when the bank's answer was known, where that was much later, as it is for a debit.
    `card_fingerprint`, `exp_month` and `exp_year` are the card's as it was then: it may change under the payment
    method's id. None where Stripe did not say.
    """

    number: int
    origin: Origin
    result: AttemptResult
    at: datetime
    payment_method_id: PaymentMethodId | None
    card_fingerprint: str | None
    amount: Money
    decline: Decline | None = None
    error_code: str | None = None
    answered_at: datetime | None = None
    exp_month: int | None = None
    exp_year: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", as_utc("PastAttempt.at", self.at))
        if self.answered_at is not None:
            object.__setattr__(self, "answered_at", as_utc("PastAttempt.answered_at", self.answered_at))

    @property
    def over_at(self) -> datetime:
        """When it was over: what waits after an attempt waits from here."""
        return self.at if self.answered_at is None else self.answered_at

    @property
    def counts(self) -> bool:
        """Whether it counts against the budget: it reached Stripe, or may have."""
        return self.result is not AttemptResult.ABANDONED

    @property
    def unresolved(self) -> bool:
        """Whether its outcome is unknown: money may have moved, so it has to be settled."""
        return self.result in (AttemptResult.STARTED, AttemptResult.UNKNOWN)


# A card is good through its last month wherever its bank is: the last place on Earth is 12 hours behind UTC.
LAST_TIME_ZONE = timedelta(hours=12)


def end_of_card(exp_year: int, exp_month: int) -> datetime:
    """The first moment at which a card that names this month is good nowhere any more."""
    years, month = divmod(exp_month, 12)
    return datetime(exp_year + years, month + 1, 1, tzinfo=UTC) + LAST_TIME_ZONE


DEBITS_TAKE: Mapping[str, timedelta] = {
    "us_bank_account": timedelta(days=6),
    "sepa_debit": timedelta(days=7),
    "bacs_debit": timedelta(days=6),
}
"""How long the bank's answer to a debit takes, by the payment method's type: business days by Stripe, and a weekend.

4 for ACH (https://docs.stripe.com/payments/ach-direct-debit), 5 for SEPA (…/sepa-debit/accept-a-payment), 4 for Bacs
(…/payment-methods/bacs-debit); read December 2026.
"""


@dataclass(frozen=True, slots=True)
class Card:
    """What the rules need of a payment method; each part is None when Stripe does not give it.

    `network` is Stripe's `card.brand` (`visa`, `amex`, …); for a debit it is the payment method's type
    (`us_bank_account`). `country` is the issuer's, as ISO 3166 alpha-2; `funding` is Stripe's `card.funding`.
    """

    fingerprint: str | None = None
    network: str | None = None
    country: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    funding: str | None = None


@dataclass(frozen=True, slots=True)
class OnFile:
    """A payment method that the customer has with the merchant. `created_at`: None where Stripe does not say."""

    payment_method_id: PaymentMethodId
    card: Card | None = None
    created_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.created_at is not None:
            object.__setattr__(self, "created_at", as_utc("OnFile.created_at", self.created_at))


@dataclass(frozen=True, slots=True)
class Pause:
    """A subscription's `pause_collection`: until when, None for until somebody lifts it.

    `ours`: an end action of ours set it, for another invoice of the subscription.
    """

    resumes_at: datetime | None = None
    behavior: str | None = None
    ours: bool = False

    def __post_init__(self) -> None:
        if self.resumes_at is not None:
            object.__setattr__(self, "resumes_at", as_utc("Pause.resumes_at", self.resumes_at))


@dataclass(frozen=True, slots=True)
class InvoiceTruth:
    """The invoice as it was just read from Stripe, never a webhook's copy.

    `payment_method_id` is the one that the next attempt would charge by Stripe's order, None when there is none, and
    `method_created_at` when that came to be, None where Stripe does not say;
    `customers_default` is the customer's, which Stripe takes if neither the invoice nor the subscription has one of its
    own; `backups` are the customer's others, in the order in which they are tried.
    `stripe_next_attempt_at` is `next_payment_attempt`: when Stripe itself will try, None when it will not.
    `products`, `prices` and `subscribed_at` (the subscription's start) are for segments.
    `auto_advance` is whether Stripe collects by itself, `attempt_count` how often it has; None: Stripe does not say.
    `paused` is the subscription's pause of collection. `ends_at` is when the subscription ends if nobody changes that,
    None when it goes on; `ending`: that is with the period that runs.
    `payment_under_way`: a payment of whomever has begun and has no end yet, as a bank debit for days. `amount_paid` is
    all that was ever paid, None where that is not known. `charged`: of a paid invoice, that it was paid by a charge in
    the way in which customers and attempts pay; False if only the merchant paid, in parts of its own.
    """

    status: InvoiceStatus
    amount_remaining: Money
    collection_method: str = "charge_automatically"
    subscription_status: str | None = None
    payment_method_id: PaymentMethodId | None = None
    card: Card | None = None
    stripe_next_attempt_at: datetime | None = None
    paid_out_of_band: bool = False
    backups: tuple[OnFile, ...] = ()
    products: frozenset[str] = frozenset()
    prices: frozenset[str] = frozenset()
    subscribed_at: datetime | None = None
    auto_advance: bool | None = None
    attempt_count: int | None = None
    paused: Pause | None = None
    ends_at: datetime | None = None
    ending: bool = False
    customer_deleted: bool = False
    payment_under_way: bool = False
    amount_paid: Money | None = None
    charged: bool = True
    customers_default: OnFile | None = None
    method_created_at: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("stripe_next_attempt_at", "subscribed_at", "method_created_at", "ends_at"):
            at = getattr(self, name)
            if at is not None:
                object.__setattr__(self, name, as_utc(f"InvoiceTruth.{name}", at))

    @property
    def paid(self) -> bool:
        """Whether nothing is left to collect."""
        return self.status is InvoiceStatus.PAID or self.amount_remaining.amount <= 0


@dataclass(frozen=True, slots=True)
class FirstDefault:
    """The customer's default payment method when the invoice was first read; None: there was none."""

    payment_method_id: PaymentMethodId | None


@dataclass(frozen=True, slots=True)
class RecoveryFacts:
    """What our own rows say about the recovery.

    `left_alone` has until when its customer or subscription is left alone, None for good; empty when neither is.
    `collection_off`: the merchant has turned automatic collection of the invoice off. `held` is how long the recovery
    waited for such a reason: that time is not counted.

    `stop_requested` is the end reason of a stop from outside. `jitter_key` (the recovery's id) spreads the attempts of
    many recoveries over a morning; the same key gives the same times. `invoice_id` decides whether the invoice is in
    the holdout; without one it is not. `window_until` is the window's end where it is later than the policy's days say.
    `paid_before` is what had been paid when it opened, in minor units. `under_way_since` is when a payment that is
    under way was first seen.
    `brought` are the payment methods that events say the customer has brought since
    the failure; `first_default` is the customer's default as it was first read (None: not read yet).
    """

    opened_at: datetime
    merchant_active: bool = True
    stop_requested: EndReason | None = None
    messages_sent: int = 0
    jitter_key: str = ""
    invoice_id: InvoiceId | None = None
    left_alone: tuple[datetime | None, ...] = ()
    collection_off: bool = False
    held: timedelta = timedelta(0)
    window_until: datetime | None = None
    paid_before: int = 0
    under_way_since: datetime | None = None
    brought: frozenset[PaymentMethodId] = frozenset()
    first_default: FirstDefault | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "opened_at", as_utc("RecoveryFacts.opened_at", self.opened_at))

    @property
    def counted_from(self) -> datetime:
        """The opening, moved by the time in which the recovery was held: the window and its days count from here."""
        return self.opened_at + self.held


@dataclass(frozen=True, slots=True)
class Considered:
    """An action that was possible, and why it was not taken."""

    action: str
    rejected_because: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision was made: the rule's name, a sentence for people, its inputs, and the actions considered."""

    rule: str
    text: str
    inputs: Mapping[str, JsonScalar] = field(default_factory=dict)
    considered: tuple[Considered, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The reason as plain JSON values, for the timeline."""
        return {
            "rule": self.rule,
            "text": self.text,
            "inputs": dict(self.inputs),
            "considered": [
                {"action": road.action, "rejected_because": road.rejected_because} for road in self.considered
            ],
        }


@dataclass(frozen=True, slots=True)
class Prediction:
    """How likely an attempt is to succeed, from 0 to 1, and the cause of the decline that it follows."""

    chance: float
    after_cause: DeclineCause

    def __post_init__(self) -> None:
        if not 0 <= self.chance <= 1:
            raise ValueError(f"a chance is from 0 to 1, not {self.chance}")


@dataclass(frozen=True, slots=True)
class AttemptNow:
    """Charge this payment method now. `prediction`: None where nothing predicts how the attempt ends, as for the first
    try of a payment method, and for schedules that do not follow from a belief."""

    reason: Reason
    payment_method_id: PaymentMethodId
    prediction: Prediction | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing until `until`, which is in the future; then read the invoice and decide again."""

    until: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class AwaitPayment:
    """A payment is under way: no attempt, no message and no end until its end is known. Read the invoice at `until`,
    which may be after the window."""

    until: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class RequireAction:
    """The customer has to authenticate (3-D Secure): send them the hosted invoice, at the latest until `deadline`."""

    reason: Reason
    deadline: datetime


@dataclass(frozen=True, slots=True)
class AskNewMethod:
    """This payment method must not be charged again: ask for another one, at the latest until `deadline`."""

    reason: Reason
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Close:
    """The recovery ends. `end_action` is then carried out at Stripe; only an exhausted recovery has one."""

    state: Literal["recovered", "exhausted", "stopped"]
    end_reason: EndReason
    reason: Reason
    end_action: EndAction = "leave"


Decision = AttemptNow | Wait | AwaitPayment | RequireAction | AskNewMethod | Close
