"""Readings: Stripe's invoices and charges, reduced to what the rules need."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from services.worker.outside.stripe_objects import (
    Charge,
    ChargeOutcome,
    Customer,
    Invoice,
    InvoicePayment,
    Method,
    PaymentIntent,
    PaymentMethod,
    Subscription,
)
from services.worker.recovery import AttemptResult, Card, Decline, InvoiceStatus, InvoiceTruth, OnFile, Pause
from shared.ids import ChargeId, InvoiceId, PaymentIntentId, PaymentMethodId
from shared.money import Money
from shared.recovery_model import MovedMoney


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
