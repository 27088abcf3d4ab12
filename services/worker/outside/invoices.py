"""Stripe's invoices and charges, reduced to what the rules need.

The models name every field that is kept. Everything else that Stripe sends (names, addresses, emails) is dropped here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.worker.recovery import AttemptResult, Card, Decline, InvoiceStatus, InvoiceTruth, OnFile, Pause
from shared.ids import ChargeId, CustomerId, InvoiceId, PaymentIntentId, PaymentMethodId, SubscriptionId
from shared.money import Money
from shared.recovery_model import MovedMoney


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


@dataclass(frozen=True, slots=True)
class SeenCharge:
    """An attempt on the invoice, whoever made it. `charge_id=None`: it waits for 3-D Secure, or was declined before
    there was a charge.

    PROCESSING: a debit that has begun. `took_time`: it is of no card, so its answer may have come days after it began,
    and Stripe does not say when.
    """

    charge_id: ChargeId | None
    payment_intent_id: PaymentIntentId | None
    at: datetime
    amount: Money
    result: AttemptResult
    payment_method_id: PaymentMethodId | None
    card: Card | None
    decline: Decline | None
    took_time: bool = False


@dataclass(frozen=True, slots=True)
class WithoutCharge:
    """A payment that was declined before there was a charge, as by Radar. Stripe does not say when."""

    payment_intent_id: PaymentIntentId
    payment_method_id: PaymentMethodId | None
    card: Card | None
    decline: Decline


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the invoice. `amount_paid` is what Stripe says was ever paid of it.

    `payment_intents` are the invoice's, each with the id of its last charge; the one that paid comes last.
    `awaiting_action` is the one that waits for the customer, with its payment method. `under_way` is the one whose
    payment has begun and has no end yet, with its charge. `paid_by` is the charge that paid what remained, as the
    payment itself says. `stripe_attempts` is how often Stripe has tried by itself: only its automatic retries raise
    `attempt_count` (https://docs.stripe.com/api/invoices/object, read November 2026). `hosted_invoice_url` is the page
    on which the customer can pay. `latest` is the newest invoice of its subscription. `without_charge` is the last
    payment, if it was declined before there was a charge.
    """

    truth: InvoiceTruth
    amount_paid: Money
    paid_at: datetime | None
    payment_intents: tuple[tuple[PaymentIntentId, ChargeId | None], ...]
    awaiting_action: tuple[PaymentIntentId, PaymentMethodId | None] | None
    hosted_invoice_url: str | None = None
    under_way: tuple[PaymentIntentId, ChargeId | None] | None = None
    paid_by: MovedMoney | None = None
    stripe_attempts: int | None = None
    latest: InvoiceId | None = None
    without_charge: WithoutCharge | None = None


# Begun, and without an end: https://docs.stripe.com/payments/paymentintents/lifecycle, read November 2026.
UNDER_WAY = frozenset({"processing"})


def read(invoice: Invoice) -> Reading:
    """Turn Stripe's invoice into a reading."""
    subscription = _subscription(invoice)
    method, customers_default = _next_method(invoice), _customers_default(invoice)
    paid_last = sorted(invoice.payments.data, key=lambda payment: (payment.status == "paid", payment.is_default))
    expanded = [each.payment.payment_intent for each in paid_last]
    intents = [each for each in expanded if isinstance(each, PaymentIntent)]
    begun = [(each.id, each.latest_charge) for each in intents if each.status in UNDER_WAY]
    waiting = [(each.id, each.payment_method) for each in intents if each.status == "requires_action"]
    prices = [each.pricing.price_details for each in invoice.lines.data if each.pricing and each.pricing.price_details]
    truth = InvoiceTruth(
        status=invoice.status,
        amount_remaining=Money(invoice.amount_remaining, invoice.currency),
        collection_method=invoice.collection_method,
        subscription_status=subscription.status if subscription else None,
        payment_method_id=method.payment_method_id if method else None,
        card=method.card if method else None,
        stripe_next_attempt_at=_time(invoice.next_payment_attempt),
        paid_out_of_band=_out_of_band(invoice),
        products=frozenset(each.product for each in prices if each.product),
        prices=frozenset(each.price for each in prices if each.price),
        subscribed_at=_time(subscription.start_date) if subscription else None,
        auto_advance=invoice.auto_advance,
        attempt_count=invoice.attempt_count,
        paused=_paused(subscription),
        ends_at=_time(subscription.ends_at) if subscription else None,
        ending=subscription is not None and subscription.ending,
        customer_deleted=isinstance(invoice.customer, Customer) and invoice.customer.deleted,
        payment_under_way=bool(begun),
        amount_paid=Money(invoice.amount_paid, invoice.currency),
        charged=_charged(invoice) is not None,
        customers_default=customers_default,
        method_created_at=method.created_at if method else None,
    )
    return Reading(
        truth=truth,
        amount_paid=Money(invoice.amount_paid, invoice.currency),
        paid_at=_time(invoice.status_transitions.paid_at),
        payment_intents=tuple((each.id, each.latest_charge) for each in intents),
        awaiting_action=waiting[0] if waiting else None,
        hosted_invoice_url=invoice.hosted_invoice_url,
        under_way=begun[-1] if begun else None,
        paid_by=_paid_by(invoice),
        stripe_attempts=invoice.attempt_count,
        latest=subscription.latest_invoice if subscription else None,
        without_charge=_without_charge(intents),
    )


def _without_charge(intents: list[PaymentIntent]) -> WithoutCharge | None:
    for each in reversed(intents):
        said = each.last_payment_error
        if each.status == "requires_payment_method" and said is not None and said.charge is None:
            decline = Decline(
                said.code,
                said.decline_code,
                said.advice_code,
                said.network_decline_code,
                said.network_advice_code,
            )
            method = said.payment_method
            method_id = method.id if method is not None and method.id is not None else each.payment_method
            return WithoutCharge(each.id, method_id, _card(method) if method is not None else None, decline)
    return None


def _charged(invoice: Invoice) -> InvoicePayment | None:
    """The payment of what remained, if it was made at Stripe."""
    return next((each for each in invoice.payments.data if each.is_default and each.status == "paid"), None)


def _paid_by(invoice: Invoice) -> MovedMoney | None:
    payment = _charged(invoice)
    intent = payment.payment.payment_intent if payment is not None else None
    if payment is None or not isinstance(intent, PaymentIntent) or intent.latest_charge is None:
        return None
    at = _time(payment.status_transitions.paid_at) or _time(invoice.status_transitions.paid_at)
    amount = intent.amount_received or payment.amount_paid
    if at is None or amount <= 0:
        return None
    return MovedMoney(intent.latest_charge, intent.id, Money(amount, invoice.currency), at)


def _out_of_band(invoice: Invoice) -> bool:
    """Whether it was paid outside Stripe: the invoice says so, or none of its payments is a paid one."""
    if invoice.status is not InvoiceStatus.PAID or _charged(invoice) is not None:
        return False
    if invoice.amount_paid_off_stripe:
        return True
    return invoice.amount_due > 0 and all(payment.status != "paid" for payment in invoice.payments.data)


def _subscription(invoice: Invoice) -> Subscription | None:
    details = invoice.parent.subscription_details if invoice.parent else None
    found = details.subscription if details else None
    return found if isinstance(found, Subscription) else None


def _paused(subscription: Subscription | None) -> Pause | None:
    pause = subscription.pause_collection if subscription else None
    return None if pause is None else Pause(_time(pause.resumes_at), pause.behavior)


def _next_method(invoice: Invoice) -> OnFile | None:
    """What Stripe charges next. Its order: the invoice's own, the subscription's, the customer's; at each, methods
    before sources (https://docs.stripe.com/billing/subscriptions/payment-methods-setting, read October 2026)."""
    subscription = _subscription(invoice)
    own = [invoice.default_payment_method, invoice.default_source]
    if subscription:
        own += [subscription.default_payment_method, subscription.default_source]
    return _first(own) or _customers_default(invoice)


def _customers_default(invoice: Invoice) -> OnFile | None:
    """What Stripe charges for invoices of this customer that name nothing else."""
    customer = invoice.customer
    if not isinstance(customer, Customer):
        return None
    return _first([customer.invoice_settings.default_payment_method, customer.default_source])


def _first(methods: Iterable[Method]) -> OnFile | None:
    for each in methods:
        match each:
            case PaymentMethod(id=str()):
                return _on_file(each)
            case str():
                return OnFile(each)
    return None


def _on_file(method: PaymentMethod) -> OnFile:
    if method.id is None:
        raise ValueError("a payment method on file has an id")
    return OnFile(method.id, _card(method), _time(method.created))


def _card(method: PaymentMethod) -> Card:
    details = method.details
    # Sources write their networks in another way: `Visa`, `American Express`.
    brand = (details.brand or details.network or "").lower()
    network = _NETWORKS.get(brand, brand) if method.type == "card" else method.type
    return Card(
        fingerprint=details.fingerprint,
        network=network or None,
        country=details.country,
        exp_month=details.exp_month,
        exp_year=details.exp_year,
        funding=details.funding,
    )


_NETWORKS = {"american express": "amex", "diners club": "diners"}


def with_backups(reading: Reading, methods: Iterable[dict[str, Any]]) -> Reading:
    """The reading with the customer's other payment methods, in Stripe's order, without the default one."""
    found = [PaymentMethod.model_validate(each) for each in methods]
    others = tuple(
        _on_file(each) for each in found if each.id is not None and each.id != reading.truth.payment_method_id
    )
    return replace(reading, truth=replace(reading.truth, backups=others))


def card_of(method: dict[str, Any]) -> Card:
    """The card of a payment method as Stripe writes it."""
    return _card(PaymentMethod.model_validate(method))


# https://docs.stripe.com/api/charges/object#charge_object-status, read November 2026
_RESULTS = {
    "pending": AttemptResult.PROCESSING,
    "succeeded": AttemptResult.SUCCEEDED,
    "failed": AttemptResult.DECLINED,
}


def seen(charge: Charge) -> SeenCharge | None:
    """The charge as an attempt; None for a status that Stripe does not document."""
    result = _RESULTS.get(charge.status or "")
    if result is None:
        return None
    failed = charge.status == "failed"
    said = charge.outcome or ChargeOutcome()
    decline = Decline(
        code=charge.failure_code,
        decline_code=said.reason if failed else None,
        advice_code=said.advice_code,
        network_decline_code=said.network_decline_code,
        network_advice_code=said.network_advice_code,
    )
    return SeenCharge(
        charge_id=charge.id,
        payment_intent_id=charge.payment_intent,
        at=datetime.fromtimestamp(charge.created, UTC),
        amount=Money(charge.amount, charge.currency),
        result=result,
        payment_method_id=charge.payment_method,
        card=_card(charge.payment_method_details) if charge.payment_method_details else None,
        decline=decline if failed else None,
        took_time=charge.payment_method_details is not None
        and charge.payment_method_details.type not in {None, "card"},
    )


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
