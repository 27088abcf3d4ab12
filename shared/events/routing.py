"""What an event means: a pure function from Stripe's JSON to one typed intent. No I/O, no clock.

`ROUTES` is the table from event type to rule; `LEFT_ALONE` has the known types that need nothing. A rule reads the
shapes of all API versions: before 2025-03-31 (basil) an invoice has `subscription`, `paid` and `paid_out_of_band`, and
a charge has `invoice`; since then the subscription is at `parent.subscription_details.subscription` and the other
fields are gone. Before 2019-10-17 `collection_method` was called `billing`.
Sources: https://docs.stripe.com/changelog and https://docs.stripe.com/api/events/types.

`route` accepts any JSON object: one that cannot be read is `Ignored`, with a reason. Only ids, codes, times and amounts
leave this module. A text that does not look like an id is dropped, so that no name or address can pass as one.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from shared.events.intents import (
    AddressChanged,
    CardChanged,
    Ignored,
    Intent,
    InvoiceChanged,
    InvoicePaid,
    MerchantGone,
    MoneyBack,
    OpenRecovery,
    PaymentNews,
    RenewalAhead,
    Routed,
    StopCharge,
    StopCustomer,
    StopInvoice,
    StopSubscription,
    SubscriptionChanged,
)
from shared.ids import ChargeId, CustomerId, InvoiceId, PaymentIntentId, PaymentMethodId, SubscriptionId
from shared.money import Money
from shared.money_back import Kind
from shared.recovery_model import BillingReason, EndReason

Json = Mapping[str, Any]

Id = TypeVar("Id", bound=str)

_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CURRENCY = re.compile(r"[a-z]{3}")
# Far above Stripe's largest amount (12 digits, https://docs.stripe.com/currencies), and small enough that sums fit into
# a bigint.
_MAX_AMOUNT = 10**15
_MAX_TIME = datetime(3000, 1, 1, tzinfo=UTC).timestamp()
_NOTHING: Json = {}

_MADE_BY_STRIPE = frozenset(BillingReason)

NEXT_ATTEMPT = "next_payment_attempt"
"""The invoice's field that says when Stripe will make its next attempt."""


def route(event: Json) -> Routed:
    """Read one event. Never raises, whatever the object holds; the same event always gives the same answer."""
    kind = event.get("type")
    data = _mapping(event.get("data"))
    resource = _mapping(data.get("object"))
    livemode = event.get("livemode")
    return Routed(
        intent=_intent(kind, resource, _mapping(data.get("previous_attributes"))),
        object_id=_id(resource.get("id"), str),
        api_version=_matching(_VERSION, event.get("api_version")),
        created=_time(event.get("created")),
        livemode=livemode if isinstance(livemode, bool) else None,
    )


def route_open_invoice(invoice: Json) -> OpenRecovery | Ignored:
    """The intent for an invoice that was listed or read without an event: whether its payment has failed.

    If its payments are expanded, none may be under way: a bank debit takes days, during which the invoice is open and
    attempted but has not failed. Never raises.
    """
    if invoice.get("status") != "open":
        return Ignored("not_open")
    if invoice.get("attempted") is not True:
        return Ignored("not_attempted")
    payments = _mapping(invoice.get("payments")).get("data")
    for payment in payments if isinstance(payments, list) else ():
        intent = _mapping(_mapping(_mapping(payment).get("payment")).get("payment_intent"))
        # A payment that is paid is a part of the invoice: what remains of it has failed all the same.
        if _mapping(payment).get("status") != "paid" and intent.get("status") in _UNDER_WAY:
            return Ignored("payment_under_way")
    return _payment_failed(invoice, _NOTHING)


# https://docs.stripe.com/payments/paymentintents/lifecycle
_UNDER_WAY = frozenset({"processing", "requires_capture", "succeeded"})


def _intent(kind: object, resource: Json, previous: Json) -> Intent:
    if not isinstance(kind, str):
        return Ignored("unreadable")
    if kind in LEFT_ALONE:
        return Ignored(LEFT_ALONE[kind])
    rule = ROUTES.get(kind)
    return rule(resource, previous) if rule else Ignored("unknown_type")


# -- reading ----------------------------------------------------------------------------------------------------------


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else _NOTHING


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _id(value: object, kind: Callable[[str], Id]) -> Id | None:
    """An id of this kind, or the id of an expanded object; `kind` is what the field says, not what the text shows."""
    found = _matching(_ID, value.get("id") if isinstance(value, Mapping) else value)
    return None if found is None else kind(found)


def _amount(value: object) -> int | None:
    # JSON's true equals 1 in Python, and is not an amount.
    return value if type(value) is int and 0 <= value <= _MAX_AMOUNT else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _time(value: object) -> datetime | None:
    if type(value) is not int or not 0 <= value <= _MAX_TIME:
        return None
    return datetime.fromtimestamp(value, UTC)


def _money(resource: Json, *fields: str) -> Money | None:
    """The amount in the first of the fields that exists, in the object's currency."""
    currency = _matching(_CURRENCY, resource.get("currency"))
    amount = next((read for field in fields if (read := _amount(resource.get(field))) is not None), None)
    return None if currency is None or amount is None else Money(amount, currency)


def _subscription_of(invoice: Json) -> SubscriptionId | None:
    details = _mapping(_mapping(invoice.get("parent")).get("subscription_details"))
    return _id(details.get("subscription"), SubscriptionId) or _id(invoice.get("subscription"), SubscriptionId)


# -- rules ------------------------------------------------------------------------------------------------------------


def _payment_failed(invoice: Json, _previous: Json) -> OpenRecovery | Ignored:
    """Only invoices that Stripe makes and charges by itself are recovered: renewals, and those that the policy adds.

    Other billing reasons are somebody's action (onboarding, an upgrade, a manual invoice): that person sees the failure
    and tries again. An invoice that is sent (`send_invoice`) is paid by the customer: the failed try was the customer's
    own, and they did not ask for their card to be charged.
    """
    reason = _matching(_ID, invoice.get("billing_reason"))
    if reason is None or reason not in _MADE_BY_STRIPE:
        return Ignored(f"billing_reason:{reason or 'unknown'}")
    # Called `billing` until 2019-10-17. The oldest invoices have neither, and were charged automatically.
    method = invoice.get("collection_method", invoice.get("billing", "charge_automatically"))
    if method != "charge_automatically":
        return Ignored("collected_by_hand")
    invoice_id = _id(invoice.get("id"), InvoiceId)
    due = _money(invoice, "amount_remaining", "amount_due")
    if invoice_id is None or due is None:
        return Ignored("unreadable")
    if due.amount == 0:
        return Ignored("nothing_due")
    told = invoice.get(NEXT_ATTEMPT) is not None
    return OpenRecovery(
        invoice_id,
        _subscription_of(invoice),
        _id(invoice.get("customer"), CustomerId),
        due,
        BillingReason(reason),
        _amount(invoice.get("amount_paid")) or 0,
        _flag(invoice.get("auto_advance")) if told else None,
        _amount(invoice.get("attempt_count")) if told else None,
    )


def _paid(*, at_stripe: bool) -> "Rule":
    """`at_stripe`: the event type says that a payment at Stripe succeeded, unless the invoice says otherwise.

    `invoice.paid` is also sent for payments outside Stripe. Since basil `paid_out_of_band` is gone, `amount_paid`
    counts both, and `amount_paid_off_stripe` is not part of Stripe's event payloads
    (https://docs.stripe.com/changelog/dahlia/2026-05-27/invoice-object-amount-paid-off-stripe-property). So such an
    event alone cannot say who paid.
    """

    def rule(invoice: Json, _previous: Json) -> Intent:
        invoice_id = _id(invoice.get("id"), InvoiceId)
        if invoice_id is None:
            return Ignored("unreadable")
        paid = _money(invoice, "amount_paid")
        out_of_band = None if paid is None else _out_of_band(invoice, paid, at_stripe=at_stripe)
        return InvoicePaid(invoice_id, paid, out_of_band, _amount(invoice.get("attempt_count")))

    return rule


def _out_of_band(invoice: Json, paid: Money, *, at_stripe: bool) -> bool | None:
    flag, outside = invoice.get("paid_out_of_band"), _amount(invoice.get("amount_paid_off_stripe"))
    # Nothing was paid of what was due: as before such money was part of amount_paid. A credit note lowers the due.
    unpaid = paid.amount == 0 and _amount(invoice.get("amount_due")) != 0
    if flag is True or unpaid or (outside and outside >= paid.amount):
        return True
    if outside:
        return None  # a part of it
    if at_stripe or flag is False or outside == 0 or paid.amount == 0:
        return False
    return None


# The fields that matter for a decision about an open invoice; `collection_method` was `billing` until 2019-10-17.
_COLLECTED_BY = frozenset(
    {
        NEXT_ATTEMPT,
        "amount_due",
        "amount_remaining",
        "billing",
        "collection_method",
        "default_payment_method",
        "default_source",
    }
)


def _invoice_updated(invoice: Json, previous: Json) -> Intent:
    """Keeps only updates that change how an open invoice will be collected.

    Every attempt, also ours, updates its invoice (`attempt_count`, `attempted`), and so does every change of its
    metadata or footer: these need no new decision. Events that close an invoice have types of their own.
    """
    collects, status = _turned(invoice, previous), invoice.get("status", "open")
    # What is turned off while it is a draft stays off when it is finalized; nothing else of a draft matters yet.
    draft = status == "draft" and collects is not None
    # Invoices had no status until 2018; a null is not "open".
    if (status != "open" and not draft) or invoice.get("paid") is True:
        return Ignored("told_by_its_own_event")
    heeded = frozenset[str]() if draft else _COLLECTED_BY
    changed = tuple(sorted((heeded | ({"auto_advance"} if collects is not None else set())) & previous.keys()))
    if not changed:
        customer_id = _id(invoice.get("customer"), CustomerId)
        if customer_id and "customer_email" in previous and invoice.get("customer_email"):
            return AddressChanged(customer_id)
        return Ignored("collected_as_before")
    invoice_id = _id(invoice.get("id"), InvoiceId)
    if invoice_id is None:
        return Ignored("unreadable")
    count = _amount(invoice.get("attempt_count"))
    return InvoiceChanged(invoice_id, _time(invoice.get(NEXT_ATTEMPT)), changed, collects, count)


def _turned(invoice: Json, previous: Json) -> bool | None:
    """Whether somebody turned automatic collection on (true) or off (false); None: neither.

    Stripe turns it off by itself when it has tried for the last time. That update tells of the attempt, too
    (`attempt_count`, `attempted`). Without one it was the merchant, who is obeyed
    (https://docs.stripe.com/invoicing/integration/automatic-advancement-collection, read November 2026).
    """
    was, now = _flag(previous.get("auto_advance")), _flag(invoice.get("auto_advance"))
    if was is None or now is None or was == now or not previous.keys().isdisjoint({"attempt_count", "attempted"}):
        return None
    return now


def _stop_invoice(reason: EndReason) -> "Rule":
    def rule(invoice: Json, _previous: Json) -> Intent:
        invoice_id = _id(invoice.get("id"), InvoiceId)
        return StopInvoice(invoice_id, reason) if invoice_id else Ignored("unreadable")

    return rule


def _subscription_deleted(subscription: Json, _previous: Json) -> Intent:
    subscription_id = _id(subscription.get("id"), SubscriptionId)
    if subscription_id is None:
        return Ignored("unreadable")
    return StopSubscription(subscription_id, EndReason.SUBSCRIPTION_CANCELED)


def _customer_deleted(customer: Json, _previous: Json) -> Intent:
    customer_id = _id(customer.get("id"), CustomerId)
    return StopCustomer(customer_id, EndReason.CUSTOMER_DELETED) if customer_id else Ignored("unreadable")


def _payment_processing(intent: Json, _previous: Json) -> Intent:
    intent_id = _id(intent.get("id"), PaymentIntentId)
    if intent_id is None:
        return Ignored("unreadable")
    return PaymentNews(_id(intent.get("latest_charge"), ChargeId), intent_id, _id(intent.get("customer"), CustomerId))


def _charge_failed(charge: Json, _previous: Json) -> Intent:
    """A card's failure is told by its invoice. A debit fails days after it began, also after it had succeeded
    (https://docs.stripe.com/payments/ach-direct-debit, read November 2026)."""
    if _mapping(charge.get("payment_method_details")).get("type", "card") == "card":
        return Ignored("told_by_its_invoice")
    charge_id = _id(charge.get("id"), ChargeId)
    intent_id = _id(charge.get("payment_intent"), PaymentIntentId)
    if charge_id is None and intent_id is None:
        return Ignored("unreadable")
    return PaymentNews(charge_id, intent_id, _id(charge.get("customer"), CustomerId))


def _charge_refunded(charge: Json, _previous: Json) -> Intent:
    """`amount_refunded` is the sum of the charge's refunds at that moment, without those that had failed."""
    stop = _stop_charge(charge.get("id"), charge, EndReason.REFUNDED)
    sum_ = _money(charge, "amount_refunded")
    if not isinstance(stop, StopCharge) or stop.charge_id is None or sum_ is None:
        return stop
    return MoneyBack(
        Kind.REFUNDS, stop.charge_id, stop.charge_id, stop.payment_intent_id, sum_, None, returned=0, stop=stop
    )


def _refund(refund: Json, _previous: Json) -> Intent:
    """A refund takes the money when it is created, also while it is pending; one that fails or is canceled gives it
    back, even after it had succeeded (https://docs.stripe.com/refunds#failed-refunds, read November 2026)."""
    came_back = _matching(_ID, refund.get("status")) in {"failed", "canceled"}
    return _money_back(Kind.REFUND, refund, EndReason.REFUNDED, taken=None, returned=None if came_back else 0)


# No money has moved by these. `prevented`: it was resolved by a refund, which has events of its own (assumed: Stripe
# documents the status without saying what it does to the balance). `charge_refunded` is of API versions before 2019.
_INQUIRY = frozenset({"warning_needs_response", "warning_under_review", "warning_closed"})
_WITHOUT_MONEY = _INQUIRY | {"prevented", "charge_refunded"}


def _dispute(*, withdrawn: bool = False, reinstated: bool = False) -> "Rule":
    """`withdrawn`, `reinstated`: the event type says that money moved, whatever the status is.

    A dispute that is no inquiry has taken its amount: Stripe debits it when the dispute is opened. What was won comes
    back. Its balance transactions say it better, if they are there and in the dispute's currency.
    """

    def rule(dispute: Json, _previous: Json) -> Intent:
        status = _matching(_ID, dispute.get("status"))
        amount = _amount(dispute.get("amount"))
        if amount is None:
            return Ignored("unreadable") if reinstated or status == "won" else _stop_disputed(dispute)
        taken, returned = _of_transactions(dispute)
        if taken == 0 and (withdrawn or reinstated or status not in _WITHOUT_MONEY):
            taken = amount
        if returned == 0 and (reinstated or status == "won"):
            returned = taken
        if taken == 0:
            # An inquiry: the customer contests the payment, so no other is tried. When it is over, nothing follows.
            open_ = status not in {"warning_closed", "prevented", "charge_refunded"}
            return _stop_disputed(dispute) if open_ else Ignored("no_money_moved")
        return _money_back(Kind.DISPUTE, dispute, EndReason.DISPUTED, taken=taken, returned=returned)

    return rule


def _of_transactions(dispute: Json) -> tuple[int, int]:
    """What was withdrawn and reinstated, by the balance transactions; zeros where they do not say it."""
    found = dispute.get("balance_transactions")
    transactions = [_mapping(each) for each in found] if isinstance(found, list) else []
    if any(each.get("currency") != dispute.get("currency") for each in transactions):
        return 0, 0  # the account is settled in another currency
    amounts = [each.get("amount") for each in transactions]
    taken = sum(-each for each in amounts if type(each) is int and -_MAX_AMOUNT <= each < 0)
    returned = sum(each for each in amounts if type(each) is int and 0 < each <= _MAX_AMOUNT)
    return min(taken, _MAX_AMOUNT), min(taken, returned, _MAX_AMOUNT)


def _stop_disputed(dispute: Json) -> Intent:
    # A dispute's charge is an id, or the whole charge, which may still name its invoice.
    charge = _mapping(dispute.get("charge"))
    return _stop_charge(dispute.get("charge"), {**charge, **dispute}, EndReason.DISPUTED)


def _money_back(kind: Kind, resource: Json, reason: EndReason, *, taken: int | None, returned: int | None) -> Intent:
    """`taken`: None is the resource's amount; `returned`: None is all of it. Unreadable money still stops."""
    charge = _mapping(resource.get("charge"))
    stop = _stop_charge(resource.get("charge"), {**charge, **resource}, reason)
    external_id, money = _id(resource.get("id"), str), _money(resource, "amount")
    if not isinstance(stop, StopCharge):
        return stop
    named = stop.charge_id or stop.payment_intent_id
    if external_id is None or money is None or named is None:
        return stop if returned == 0 else Ignored("unreadable")
    taken = money.amount if taken is None else taken
    returned = taken if returned is None else returned
    return MoneyBack(
        kind,
        external_id,
        stop.charge_id,
        stop.payment_intent_id,
        Money(taken, money.currency),
        _time(resource.get("created")),
        returned,
        stop if returned == 0 else None,
    )


def _stop_charge(charge: object, resource: Json, reason: EndReason) -> Intent:
    charge_id, intent_id = _id(charge, ChargeId), _id(resource.get("payment_intent"), PaymentIntentId)
    invoice_id = _id(resource.get("invoice"), InvoiceId)
    if not (charge_id or intent_id or invoice_id):
        return Ignored("unreadable")
    return StopCharge(charge_id, intent_id, invoice_id, reason)


def _method_added(method: Json, _previous: Json) -> Intent:
    customer_id = _id(method.get("customer"), CustomerId)
    added = _id(method.get("id"), PaymentMethodId)
    return CardChanged(customer_id, None, added=added) if customer_id else Ignored("unreadable")


# What makes a payment method another card or bank account, or its date another one.
_OF_CARD = frozenset({"exp_month", "exp_year", "fingerprint", "last4"})


def _method_changed(method: Json, previous: Json) -> Intent:
    """A payment method, source or card has changed under its id; its address, name or metadata are no matter of ours.

    The details are under the name of its type, or in the object itself if it is an old `card` or `bank_account`. An
    event that does not say what has changed counts.
    """
    kind = method.get("type")
    changed = {*previous, *_mapping(previous.get(kind) if isinstance(kind, str) else None)}
    if previous and not changed & _OF_CARD:
        return Ignored("no_card_changed")
    customer_id = _id(method.get("customer"), CustomerId)
    return CardChanged(customer_id, None) if customer_id else Ignored("unreadable")


def _customer_updated(customer: Json, previous: Json) -> Intent:
    settings = _mapping(previous.get("invoice_settings"))
    # `default_card` until 2015-02-18.
    customer_id = _id(customer.get("id"), CustomerId)
    card: CardChanged | None = None
    if "default_payment_method" in settings:
        default = _mapping(customer.get("invoice_settings")).get("default_payment_method")
        card = CardChanged(customer_id, None, made_default=_id(default, PaymentMethodId))
    elif previous.keys() & {"default_source", "default_card"}:
        default = customer.get("default_source", customer.get("default_card"))
        card = CardChanged(customer_id, None, made_default=_id(default, PaymentMethodId))
    address = "email" in previous and bool(customer.get("email", True))
    if card is None and not address:
        return Ignored("no_card_changed")
    if customer_id is None:
        return Ignored("unreadable")
    return AddressChanged(customer_id, card) if address or card is None else card


def _renewal_ahead(invoice: Json, _previous: Json) -> Intent:
    """The invoice is a preview without an id, sent as many days before a renewal as the account's settings say
    (https://docs.stripe.com/billing/subscriptions/webhooks)."""
    if invoice.get("collection_method", invoice.get("billing", "charge_automatically")) != "charge_automatically":
        return Ignored("collected_by_hand")
    customer_id, subscription_id = _id(invoice.get("customer"), CustomerId), _subscription_of(invoice)
    if customer_id is None or subscription_id is None:
        return Ignored("no_subscription")
    return RenewalAhead(customer_id, subscription_id)


# What of a subscription says whether and until when its invoices are collected.
_SUBSCRIBED_BY = frozenset({"billing", "cancel_at", "cancel_at_period_end", "collection_method", "pause_collection"})


def _subscription_updated(subscription: Json, previous: Json) -> Intent:
    card = not previous.keys().isdisjoint({"default_payment_method", "default_source"})
    changed = tuple(sorted(_SUBSCRIBED_BY & previous.keys()))
    if not card and not changed:
        return Ignored("no_card_changed")
    subscription_id = _id(subscription.get("id"), SubscriptionId)
    if subscription_id is None:
        return Ignored("unreadable")
    if not card:
        return SubscriptionChanged(subscription_id, changed)
    return CardChanged(_id(subscription.get("customer"), CustomerId), subscription_id)


def _merchant_gone(_application: Json, _previous: Json) -> Intent:
    return MerchantGone()


Rule = Callable[[Json, Json], Intent]  # the event's object and its previous attributes → what to do

ROUTES: Mapping[str, Rule] = {
    "invoice.payment_failed": _payment_failed,
    "invoice.payment_action_required": _payment_failed,
    "invoice.paid": _paid(at_stripe=False),
    "invoice.payment_succeeded": _paid(at_stripe=True),
    "invoice.upcoming": _renewal_ahead,
    "invoice.updated": _invoice_updated,
    "invoice.voided": _stop_invoice(EndReason.VOIDED),
    "invoice.marked_uncollectible": _stop_invoice(EndReason.MARKED_UNCOLLECTIBLE),
    "customer.subscription.deleted": _subscription_deleted,
    "customer.subscription.updated": _subscription_updated,
    "customer.deleted": _customer_deleted,
    "customer.updated": _customer_updated,
    "customer.source.created": _method_added,
    "customer.source.updated": _method_changed,
    "customer.card.updated": _method_changed,  # the name of the last one before 2015-02-18, as of `default_card`
    "payment_method.attached": _method_added,
    "payment_method.updated": _method_changed,
    "payment_method.automatically_updated": _method_changed,  # the networks' card updater
    # The same before 2020-08-27 (https://docs.stripe.com/changelog/2020-08-27/renames-automatically-updated-event-type).
    "payment_method.card_automatically_updated": _method_changed,
    "charge.failed": _charge_failed,
    "payment_intent.processing": _payment_processing,
    "charge.refunded": _charge_refunded,
    "charge.refund.updated": _refund,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.dispute.created": _dispute(),
    "charge.dispute.funds_withdrawn": _dispute(withdrawn=True),
    "charge.dispute.funds_reinstated": _dispute(reinstated=True),
    "charge.dispute.closed": _dispute(),
    "account.application.deauthorized": _merchant_gone,
}

# Known types without an effect; the reason is logged.
LEFT_ALONE: Mapping[str, str] = {
    "invoice.created": "not_a_failure",
    "invoice.finalized": "not_a_failure",
    "invoice.overdue": "collected_by_hand",
    "charge.succeeded": "told_by_its_invoice",
    "payment_intent.payment_failed": "told_by_its_invoice",
    "payment_intent.succeeded": "told_by_its_invoice",
    "payment_intent.requires_action": "told_by_its_invoice",
    "checkout.session.completed": "not_a_failure",
}
