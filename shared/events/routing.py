"""What an event means: a pure function from Stripe's JSON to one typed intent. No I/O, no clock.

`ROUTES` is the table from event type to rule; `LEFT_ALONE` has the known types that need nothing. A rule reads the
shapes of all API versions: before 2025-03-31 (basil) an invoice has `subscription`, `paid` and `paid_out_of_band`, and
a charge has `invoice`; since then the subscription is at `parent.subscription_details.subscription` and the other
fields are gone. Before 2019-10-17 `collection_method` was called `billing`.
Sources: https://docs.stripe.com/changelog and https://docs.stripe.com/api/events/types.

`route` accepts any JSON object: one that cannot be read is `Ignored`, with a reason. Only ids, codes, times and amounts
leave this module.
"""

from collections.abc import Mapping

from shared.events.fields import (
    NOTHING,
    Json,
    amount_of,
    code_of,
    flag_of,
    id_of,
    mapping_of,
    money_in,
    subscription_of,
    time_of,
    version_of,
)
from shared.events.intents import (
    AddressChanged,
    CardChanged,
    Ignored,
    Intent,
    InvoiceChanged,
    InvoicePaid,
    MerchantGone,
    OpenRecovery,
    PaymentNews,
    RenewalAhead,
    Routed,
    Rule,
    StopCustomer,
    StopInvoice,
    StopSubscription,
    SubscriptionChanged,
)
from shared.events.refunds_and_disputes import charge_refunded, dispute_changed, refund_changed
from shared.ids import ChargeId, CustomerId, InvoiceId, PaymentIntentId, PaymentMethodId, SubscriptionId
from shared.money import Money
from shared.recovery_model import BillingReason, EndReason

_MADE_BY_STRIPE = frozenset(BillingReason)

NEXT_ATTEMPT = "next_payment_attempt"
"""The invoice's field that says when Stripe will make its next attempt."""


def route(event: Json) -> Routed:
    """Read one event. Never raises, whatever the object holds; the same event always gives the same answer."""
    kind = event.get("type")
    data = mapping_of(event.get("data"))
    resource = mapping_of(data.get("object"))
    livemode = event.get("livemode")
    return Routed(
        intent=_intent(kind, resource, mapping_of(data.get("previous_attributes"))),
        object_id=id_of(resource.get("id"), str),
        api_version=version_of(event.get("api_version")),
        created=time_of(event.get("created")),
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
    payments = mapping_of(invoice.get("payments")).get("data")
    for payment in payments if isinstance(payments, list) else ():
        intent = mapping_of(mapping_of(mapping_of(payment).get("payment")).get("payment_intent"))
        # A payment that is paid is a part of the invoice: what remains of it has failed all the same.
        if mapping_of(payment).get("status") != "paid" and intent.get("status") in _UNDER_WAY:
            return Ignored("payment_under_way")
    return _payment_failed(invoice, NOTHING)


# https://docs.stripe.com/payments/paymentintents/lifecycle
_UNDER_WAY = frozenset({"processing", "requires_capture", "succeeded"})


def _intent(kind: object, resource: Json, previous: Json) -> Intent:
    if not isinstance(kind, str):
        return Ignored("unreadable")
    if kind in LEFT_ALONE:
        return Ignored(LEFT_ALONE[kind])
    rule = ROUTES.get(kind)
    return rule(resource, previous) if rule else Ignored("unknown_type")


def _payment_failed(invoice: Json, _previous: Json) -> OpenRecovery | Ignored:
    """Only invoices that Stripe makes and charges by itself are recovered: renewals, and those that the policy adds.

    Other billing reasons are somebody's action (onboarding, an upgrade, a manual invoice): that person sees the failure
    and tries again. An invoice that is sent (`send_invoice`) is paid by the customer: the failed try was the customer's
    own, and they did not ask for their card to be charged.
    """
    reason = code_of(invoice.get("billing_reason"))
    if reason is None or reason not in _MADE_BY_STRIPE:
        return Ignored(f"billing_reason:{reason or 'unknown'}")
    # Called `billing` until 2019-10-17. The oldest invoices have neither, and were charged automatically.
    method = invoice.get("collection_method", invoice.get("billing", "charge_automatically"))
    if method != "charge_automatically":
        return Ignored("collected_by_hand")
    invoice_id = id_of(invoice.get("id"), InvoiceId)
    due = money_in(invoice, "amount_remaining", "amount_due")
    if invoice_id is None or due is None:
        return Ignored("unreadable")
    if due.amount == 0:
        return Ignored("nothing_due")
    told = invoice.get(NEXT_ATTEMPT) is not None
    return OpenRecovery(
        invoice_id,
        subscription_of(invoice),
        id_of(invoice.get("customer"), CustomerId),
        due,
        BillingReason(reason),
        amount_of(invoice.get("amount_paid")) or 0,
        flag_of(invoice.get("auto_advance")) if told else None,
        amount_of(invoice.get("attempt_count")) if told else None,
    )


def _paid(*, at_stripe: bool) -> Rule:
    """`at_stripe`: the event type says that a payment at Stripe succeeded, unless the invoice says otherwise.

    `invoice.paid` is also sent for payments outside Stripe. Since basil `paid_out_of_band` is gone, `amount_paid`
    counts both, and `amount_paid_off_stripe` is not part of Stripe's event payloads
    (https://docs.stripe.com/changelog/dahlia/2026-05-27/invoice-object-amount-paid-off-stripe-property). So such an
    event alone cannot say who paid.
    """

    def rule(invoice: Json, _previous: Json) -> Intent:
        invoice_id = id_of(invoice.get("id"), InvoiceId)
        if invoice_id is None:
            return Ignored("unreadable")
        paid = money_in(invoice, "amount_paid")
        out_of_band = None if paid is None else _out_of_band(invoice, paid, at_stripe=at_stripe)
        return InvoicePaid(invoice_id, paid, out_of_band, amount_of(invoice.get("attempt_count")))

    return rule


def _out_of_band(invoice: Json, paid: Money, *, at_stripe: bool) -> bool | None:
    flag, outside = invoice.get("paid_out_of_band"), amount_of(invoice.get("amount_paid_off_stripe"))
    # Nothing was paid of what was due: as before such money was part of amount_paid. A credit note lowers the due.
    unpaid = paid.amount == 0 and amount_of(invoice.get("amount_due")) != 0
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
        customer_id = id_of(invoice.get("customer"), CustomerId)
        if customer_id and "customer_email" in previous and invoice.get("customer_email"):
            return AddressChanged(customer_id)
        return Ignored("collected_as_before")
    invoice_id = id_of(invoice.get("id"), InvoiceId)
    if invoice_id is None:
        return Ignored("unreadable")
    count = amount_of(invoice.get("attempt_count"))
    return InvoiceChanged(invoice_id, time_of(invoice.get(NEXT_ATTEMPT)), changed, collects, count)


def _turned(invoice: Json, previous: Json) -> bool | None:
    """Whether somebody turned automatic collection on (true) or off (false); None: neither.

    Stripe turns it off by itself when it has tried for the last time. That update tells of the attempt, too
    (`attempt_count`, `attempted`). Without one it was the merchant, who is obeyed
    (https://docs.stripe.com/invoicing/integration/automatic-advancement-collection, read November 2026).
    """
    was, now = flag_of(previous.get("auto_advance")), flag_of(invoice.get("auto_advance"))
    if was is None or now is None or was == now or not previous.keys().isdisjoint({"attempt_count", "attempted"}):
        return None
    return now


def _stop_invoice(reason: EndReason) -> Rule:
    def rule(invoice: Json, _previous: Json) -> Intent:
        invoice_id = id_of(invoice.get("id"), InvoiceId)
        return StopInvoice(invoice_id, reason) if invoice_id else Ignored("unreadable")

    return rule


def _subscription_deleted(subscription: Json, _previous: Json) -> Intent:
    subscription_id = id_of(subscription.get("id"), SubscriptionId)
    if subscription_id is None:
        return Ignored("unreadable")
    return StopSubscription(subscription_id, EndReason.SUBSCRIPTION_CANCELED)


def _customer_deleted(customer: Json, _previous: Json) -> Intent:
    customer_id = id_of(customer.get("id"), CustomerId)
    return StopCustomer(customer_id, EndReason.CUSTOMER_DELETED) if customer_id else Ignored("unreadable")


def _payment_processing(intent: Json, _previous: Json) -> Intent:
    intent_id = id_of(intent.get("id"), PaymentIntentId)
    if intent_id is None:
        return Ignored("unreadable")
    return PaymentNews(
        id_of(intent.get("latest_charge"), ChargeId), intent_id, id_of(intent.get("customer"), CustomerId)
    )


def _charge_failed(charge: Json, _previous: Json) -> Intent:
    """A card's failure is told by its invoice. A debit fails days after it began, also after it had succeeded
    (https://docs.stripe.com/payments/ach-direct-debit, read November 2026)."""
    if mapping_of(charge.get("payment_method_details")).get("type", "card") == "card":
        return Ignored("told_by_its_invoice")
    charge_id = id_of(charge.get("id"), ChargeId)
    intent_id = id_of(charge.get("payment_intent"), PaymentIntentId)
    if charge_id is None and intent_id is None:
        return Ignored("unreadable")
    return PaymentNews(charge_id, intent_id, id_of(charge.get("customer"), CustomerId))


def _method_added(method: Json, _previous: Json) -> Intent:
    customer_id = id_of(method.get("customer"), CustomerId)
    added = id_of(method.get("id"), PaymentMethodId)
    return CardChanged(customer_id, None, added=added) if customer_id else Ignored("unreadable")


# What makes a payment method another card or bank account, or its date another one.
_OF_CARD = frozenset({"exp_month", "exp_year", "fingerprint", "last4"})


def _method_changed(method: Json, previous: Json) -> Intent:
    """A payment method, source or card has changed under its id; its address, name or metadata are no matter of ours.

    The details are under the name of its type, or in the object itself if it is an old `card` or `bank_account`. An
    event that does not say what has changed counts.
    """
    kind = method.get("type")
    changed = {*previous, *mapping_of(previous.get(kind) if isinstance(kind, str) else None)}
    if previous and not changed & _OF_CARD:
        return Ignored("no_card_changed")
    customer_id = id_of(method.get("customer"), CustomerId)
    return CardChanged(customer_id, None) if customer_id else Ignored("unreadable")


def _customer_updated(customer: Json, previous: Json) -> Intent:
    settings = mapping_of(previous.get("invoice_settings"))
    # `default_card` until 2015-02-18.
    customer_id = id_of(customer.get("id"), CustomerId)
    card: CardChanged | None = None
    if "default_payment_method" in settings:
        default = mapping_of(customer.get("invoice_settings")).get("default_payment_method")
        card = CardChanged(customer_id, None, made_default=id_of(default, PaymentMethodId))
    elif previous.keys() & {"default_source", "default_card"}:
        default = customer.get("default_source", customer.get("default_card"))
        card = CardChanged(customer_id, None, made_default=id_of(default, PaymentMethodId))
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
    customer_id, subscription_id = id_of(invoice.get("customer"), CustomerId), subscription_of(invoice)
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
    subscription_id = id_of(subscription.get("id"), SubscriptionId)
    if subscription_id is None:
        return Ignored("unreadable")
    if not card:
        return SubscriptionChanged(subscription_id, changed)
    return CardChanged(id_of(subscription.get("customer"), CustomerId), subscription_id)


def _merchant_gone(_application: Json, _previous: Json) -> Intent:
    return MerchantGone()


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
    "charge.refunded": charge_refunded,
    "charge.refund.updated": refund_changed,
    "refund.created": refund_changed,
    "refund.updated": refund_changed,
    "refund.failed": refund_changed,
    "charge.dispute.created": dispute_changed(),
    "charge.dispute.funds_withdrawn": dispute_changed(withdrawn=True),
    "charge.dispute.funds_reinstated": dispute_changed(reinstated=True),
    "charge.dispute.closed": dispute_changed(),
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
