"""Stripe's objects as Stripe writes them: invoices, and what belongs to them.

The models name every field that is kept. Everything else that Stripe sends (names, addresses, emails) is dropped here.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.worker.recovery import InvoiceStatus
from shared.ids import ChargeId, CustomerId, InvoiceId, PaymentIntentId, PaymentMethodId, SubscriptionId


class _Part(BaseModel):
    """A null says as little as a field that is not there: the field's default holds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _nulls_say_nothing(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class Details(_Part):
    """The card or bank account of a payment method, of a charge or of a source.

    Cards, `us_bank_account`, `sepa_debit`, `bacs_debit`, `acss_debit` and `au_becs_debit` have a fingerprint; wallets
    and the rest have none (Stripe's OpenAPI document of 2026-05-27).
    """

    brand: str | None = None
    network: str | None = None
    country: str | None = None
    fingerprint: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    funding: str | None = None


class PaymentMethod(_Part):
    """A payment method, a charge's `payment_method_details`, or what came before payment methods: a source or card.

    `details` is what Stripe puts under the name of the type. A legacy card or bank account has it in itself.
    """

    id: PaymentMethodId | None = None
    type: str | None = None
    created: int | None = None
    details: Details = Details()

    @model_validator(mode="before")
    @classmethod
    def _of_its_type(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        kind = str(given.get("type"))
        details: Any = given.get(kind)
        if given.get("object") in _LEGACY:
            kind, details = str(given["object"]), given
        said = {"id": given.get("id"), "type": _LEGACY.get(kind, kind), "created": given.get("created")}
        return said | {"details": details if isinstance(details, dict) else {}}


# What is older than payment methods, and the type of the payment methods that took its place.
_LEGACY = {"card": "card", "bank_account": "us_bank_account", "ach_debit": "us_bank_account"}


# Expanded or not, or none.
Method = PaymentMethod | PaymentMethodId | None


class InvoiceSettings(_Part):
    """A customer's settings for invoices."""

    default_payment_method: Method = None


class Customer(_Part):
    """The parts of a customer that say what is charged. Of a deleted one Stripe tells that it is, and nothing else."""

    id: CustomerId
    deleted: bool = False
    invoice_settings: InvoiceSettings = InvoiceSettings()
    default_source: Method = None


class PauseCollection(_Part):
    """A pause of a subscription's collection; unix seconds."""

    behavior: str | None = None
    resumes_at: int | None = None


class Item(_Part):
    """What a subscription consists of, and the end of its period; unix seconds."""

    current_period_end: int | None = None


class Items(_Part):
    """The subscription's items; Stripe shows the first ten with the subscription."""

    data: tuple[Item, ...] = ()


class Subscription(_Part):
    """A subscription's state, and the payment methods that it charges."""

    id: SubscriptionId
    status: str | None = None
    start_date: int | None = None
    default_payment_method: Method = None
    default_source: Method = None
    latest_invoice: InvoiceId | None = None
    pause_collection: PauseCollection | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    items: Items = Items()

    @property
    def period_end(self) -> int | None:
        """When the first of its periods ends (unix seconds)."""
        return min((item.current_period_end for item in self.items.data if item.current_period_end), default=None)

    @property
    def ends_at(self) -> int | None:
        """When it ends if nobody changes that. With flexible billing `cancel_at` is set for a period's end, too."""
        return self.cancel_at or (self.period_end if self.cancel_at_period_end else None)

    @property
    def ending(self) -> bool:
        """Whether it ends with the period that runs, at the latest."""
        by_then = self.cancel_at is not None and self.cancel_at <= (self.period_end or self.cancel_at)
        return self.cancel_at_period_end or by_then


class SubscriptionDetails(_Part):
    """The subscription that an invoice comes from."""

    subscription: Subscription | SubscriptionId | None = None


class Parent(_Part):
    """What made the invoice."""

    subscription_details: SubscriptionDetails | None = None


class PaymentError(_Part):
    """Why a PaymentIntent's last payment failed. Without `charge` it was declined before there was one."""

    code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    network_decline_code: str | None = None
    network_advice_code: str | None = None
    charge: ChargeId | None = None
    payment_method: PaymentMethod | None = None


class PaymentIntent(_Part):
    """One way to pay the invoice, and its latest charge."""

    id: PaymentIntentId
    status: str | None = None
    latest_charge: ChargeId | None = None
    payment_method: PaymentMethodId | None = None
    amount_received: int = 0
    last_payment_error: PaymentError | None = None


class PaymentOfInvoice(_Part):
    """What an invoice payment consists of."""

    type: str | None = None
    payment_intent: PaymentIntent | PaymentIntentId | None = None


class PaymentTransitions(_Part):
    """When a payment changed its status; unix seconds."""

    paid_at: int | None = None


class InvoicePayment(_Part):
    """A payment of the invoice, made or still open.

    The default one is Stripe's, for what remains: Stripe, `/pay` and the hosted page use it. Others are attached by the
    merchant, for parts (https://docs.stripe.com/invoicing/partial-payments, read November 2026).
    """

    status: str | None = None
    is_default: bool = True
    amount_paid: int = 0
    payment: PaymentOfInvoice = PaymentOfInvoice()
    status_transitions: PaymentTransitions = PaymentTransitions()


class Payments(_Part):
    """The invoice's payments."""

    data: tuple[InvoicePayment, ...] = ()


class PriceDetails(_Part):
    """The price and product of a line."""

    price: str | None = None
    product: str | None = None


class Pricing(_Part):
    """Where a line's amount comes from."""

    price_details: PriceDetails | None = None


class Line(_Part):
    """One line of the invoice; its text is dropped."""

    pricing: Pricing | None = None


class Lines(_Part):
    """The invoice's lines; Stripe shows the first ten with the invoice."""

    data: tuple[Line, ...] = ()


class Transitions(_Part):
    """When the invoice changed its status; unix seconds."""

    paid_at: int | None = None


class Invoice(_Part):
    """Stripe's invoice, in the shape of the pinned API version. Amounts in minor units, times in unix seconds.

    `status` may be null (https://docs.stripe.com/api/invoices/object, November 2026): such an invoice counts as a
    draft, which is waited for, never as open.
    """

    id: InvoiceId
    status: InvoiceStatus = InvoiceStatus.DRAFT
    currency: str
    amount_due: int
    amount_paid: int = 0
    amount_paid_off_stripe: int | None = None
    amount_remaining: int
    attempt_count: int | None = None
    auto_advance: bool | None = None
    collection_method: str = "charge_automatically"
    next_payment_attempt: int | None = None
    default_payment_method: Method = None
    default_source: Method = None
    customer: Customer | CustomerId | None = None
    parent: Parent | None = None
    payments: Payments = Payments()
    lines: Lines = Lines()
    status_transitions: Transitions = Transitions()
    hosted_invoice_url: str | None = None


class ChargeOutcome(_Part):
    """The network's answer to a charge."""

    type: str | None = None
    reason: str | None = None
    advice_code: str | None = None
    network_decline_code: str | None = None
    network_advice_code: str | None = None


class Charge(_Part):
    """One request to the card network for money."""

    id: ChargeId
    created: int
    status: str | None = None
    amount: int
    currency: str
    payment_intent: PaymentIntentId | None = None
    payment_method: PaymentMethodId | None = None
    payment_method_details: PaymentMethod | None = None
    failure_code: str | None = None
    outcome: ChargeOutcome | None = Field(None)
