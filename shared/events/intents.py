"""What an event asks for, as typed intents without the event's payload."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from shared.events.fields import Json
from shared.ids import ChargeId, CustomerId, InvoiceId, PaymentIntentId, PaymentMethodId, SubscriptionId
from shared.money import Money
from shared.money_back import Kind
from shared.recovery_model import BillingReason, EndReason


@dataclass(frozen=True, slots=True)
class OpenRecovery:
    """An invoice that Stripe made by itself was not paid: open its recovery, if the policy in force collects its kind.

    `amount` is what was left to pay, more than zero; `paid_before` what had been paid by then. `auto_advance` and
    `attempt_count` say whether Stripe collects it by itself and how often it has, as of the event; None where Stripe
    has announced no attempt.
    """

    invoice_id: InvoiceId
    subscription_id: SubscriptionId | None
    customer_id: CustomerId | None
    amount: Money
    billing_reason: BillingReason = BillingReason.CYCLE
    paid_before: int = 0
    auto_advance: bool | None = field(default=None, compare=False)
    attempt_count: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class InvoicePaid:
    """An invoice was paid. `paid` is all that was ever paid of it; None: the event does not say it.

    `out_of_band=None`: this event cannot tell whether Stripe moved the money. `attempt_count` is how often Stripe has
    tried by itself.
    """

    invoice_id: InvoiceId
    paid: Money | None
    out_of_band: bool | None
    attempt_count: int | None = None


@dataclass(frozen=True, slots=True)
class PaymentNews:
    """A payment that takes days has begun, or a charge of such a payment has failed: what it pays is to be read.

    Since basil neither names its invoice: our attempts, the charges that were booked, or the customer tell it.
    """

    charge_id: ChargeId | None
    payment_intent_id: PaymentIntentId | None
    customer_id: CustomerId | None


@dataclass(frozen=True, slots=True)
class StopInvoice:
    """This invoice is not to be collected any more."""

    invoice_id: InvoiceId
    reason: EndReason


@dataclass(frozen=True, slots=True)
class StopSubscription:
    """Nothing is to be collected for this subscription any more."""

    subscription_id: SubscriptionId
    reason: EndReason


@dataclass(frozen=True, slots=True)
class StopCustomer:
    """Nothing is to be collected from this customer any more."""

    customer_id: CustomerId
    reason: EndReason


@dataclass(frozen=True, slots=True)
class StopCharge:
    """The invoice of this charge is left alone. Without `invoice_id` (basil and later) our attempts tell it."""

    charge_id: ChargeId | None
    payment_intent_id: PaymentIntentId | None
    invoice_id: InvoiceId | None
    reason: EndReason


@dataclass(frozen=True, slots=True)
class MoneyBack:
    """Money of a charge went back to its customer, or came back from there.

    `moved_at` is what the object says of itself; the event's own time may be earlier. `returned` of the amount came
    back. `stop`: the charge's invoice is left alone as well, if its recovery is still open.
    """

    kind: Kind
    external_id: str
    charge_id: ChargeId | None
    payment_intent_id: PaymentIntentId | None
    taken: Money
    moved_at: datetime | None
    returned: int
    stop: StopCharge | None


@dataclass(frozen=True, slots=True)
class CardChanged:
    """The card to charge may have changed, for one subscription or for all of a customer's.

    `added` is the payment method that was attached to the customer, `made_default` the one that became the customer's
    default; None for a change of one that was there.
    """

    customer_id: CustomerId | None
    subscription_id: SubscriptionId | None
    added: PaymentMethodId | None = None
    made_default: PaymentMethodId | None = None


@dataclass(frozen=True, slots=True)
class AddressChanged:
    """A customer has an email address, or another one: a bounce of the old one says nothing about it.

    `card` is what the same event says of the customer's card to charge.
    """

    customer_id: CustomerId
    card: CardChanged | None = None


@dataclass(frozen=True, slots=True)
class InvoiceChanged:
    """An open invoice will be collected in another way: at another time, with another amount or payment method.

    `changed` names the changed fields, in alphabetical order. `next_attempt_at` is when Stripe will make its next
    attempt, None when it will make none. `collects` is false when the merchant turned automatic collection off, true
    when it was turned on, None when that has not changed; `attempt_count` is how often Stripe had tried.
    """

    invoice_id: InvoiceId
    next_attempt_at: datetime | None
    changed: tuple[str, ...]
    collects: bool | None = None
    attempt_count: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SubscriptionChanged:
    """A subscription is paused or goes on, ends or does not, or is collected in another way.

    `changed` names the changed fields, in alphabetical order.
    """

    subscription_id: SubscriptionId
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RenewalAhead:
    """A subscription will renew and be charged automatically: its card may have expired by then."""

    customer_id: CustomerId
    subscription_id: SubscriptionId


@dataclass(frozen=True, slots=True)
class MerchantGone:
    """The merchant has disconnected the platform: all work for it ends."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event is recorded and has no effect; `why` is a short code."""

    why: str


Intent = (
    OpenRecovery
    | InvoicePaid
    | PaymentNews
    | StopInvoice
    | StopSubscription
    | StopCustomer
    | StopCharge
    | MoneyBack
    | CardChanged
    | AddressChanged
    | InvoiceChanged
    | SubscriptionChanged
    | RenewalAhead
    | MerchantGone
    | Ignored
)

Rule = Callable[[Json, Json], Intent]
"""What the events of a type mean: the event's object and its previous attributes → what to do."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An event without its payload: its intent, and what is kept of it. Unreadable facts are None."""

    intent: Intent
    object_id: str | None
    api_version: str | None
    created: datetime | None
    livemode: bool | None
