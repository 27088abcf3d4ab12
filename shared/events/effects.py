"""What an event does: intent → effects, in the caller's transaction, which has recorded the event.

A second event about the same fact, even under another id, has no effect. Locks are taken in the order that `store`
gives.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from shared import merchant_tasks, recoveries, recovery_opening, recovery_stops, recovery_tasks, silences
from shared.clock import business_now
from shared.database import Connection
from shared.events import known, store
from shared.events.incoming import Incoming
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
    StopCharge,
    StopCustomer,
    StopInvoice,
    StopSubscription,
    SubscriptionChanged,
)
from shared.events.routing import NEXT_ATTEMPT
from shared.events.store import Concerned
from shared.ids import MerchantId, RecoveryId
from shared.money_back import Fact
from shared.queue import queued
from shared.recovery_model import (
    ADDRESS_CHANGED,
    CARD_CHANGED,
    COLLECTION_OFF,
    COLLECTION_ON,
    FAILED_AGAIN,
    INVOICE_CHANGED,
    PAID_SOMEHOW,
    PAYMENT_NEWS,
    STRIPE_NEXT,
    SUBSCRIPTION_CHANGED,
    BillingReason,
    EndReason,
    Entry,
    EntryKind,
    FailedInvoice,
    RecoveryState,
)
from shared.silences import SilenceReason

# The states in which a recovery waits, for a time or for the customer: a change of the invoice may end the wait.
# `open` is due already.
_WAITS = frozenset({RecoveryState.WAITING, RecoveryState.NEEDS_NEW_METHOD, RecoveryState.ACTION_REQUIRED})

# In these we make no attempt.
_WAITS_FOR_CUSTOMER = frozenset({RecoveryState.NEEDS_NEW_METHOD, RecoveryState.ACTION_REQUIRED})

# From the reading of an invoice to the commit of its decision takes less than a minute; our clock and Stripe's differ
# by less than that, too.
_READ_WITHIN = timedelta(minutes=1)
_FIRST_STEP = "read the invoice at Stripe and decide"

_OPENED_BY = {
    BillingReason.CYCLE: ("renewal_failed", "The renewal's payment failed."),
    BillingReason.THRESHOLD: ("threshold_failed", "The payment of the usage up to a threshold failed."),
    BillingReason.PENDING_ITEMS: ("pending_items_failed", "The payment of pending invoice items failed."),
}

_STOP_TEXTS = {
    EndReason.VOIDED: "The invoice was voided.",
    EndReason.MARKED_UNCOLLECTIBLE: "The invoice was marked uncollectible.",
    EndReason.REFUNDED: "A charge of the invoice was refunded.",
    EndReason.DISPUTED: "A charge of the invoice was disputed.",
    EndReason.SUBSCRIPTION_CANCELED: "The subscription was canceled.",
    EndReason.CUSTOMER_DELETED: "The customer was deleted.",
    EndReason.MERCHANT_GONE: "The merchant ended the connection.",
}


async def apply(db: Connection, merchant_id: MerchantId, event: Incoming, intent: Intent) -> None:
    match intent:
        case OpenRecovery():
            await recovery_opening.open_recoveries(db, [opening(merchant_id, event, intent)])
            await look_at_failure(db, merchant_id, event, intent)
        case InvoicePaid():
            await _settle(db, merchant_id, event, intent)
            await _money_after_end(db, merchant_id, intent)
        case PaymentNews():
            await _look_at_payment(db, merchant_id, event, intent)
        case StopInvoice() | StopSubscription() | StopCustomer() | StopCharge():
            await _stop(db, await _stopped_by(db, merchant_id, intent), intent.reason, event)
        case MoneyBack():
            await _take_back(db, merchant_id, event, intent)
        case CardChanged():
            await _try_card(db, merchant_id, event, intent)
        case InvoiceChanged() | SubscriptionChanged():
            await _note_collection(db, merchant_id, event, intent)
        case AddressChanged():
            await _write_to_address(db, merchant_id, event, intent)
        case RenewalAhead():
            await merchant_tasks.warn_of_card(db, merchant_id, intent.customer_id, intent.subscription_id)
        case MerchantGone():
            await _end_merchant(db, merchant_id, event)
        case Ignored():
            pass
        case _:
            assert_never(intent)


def _origin(event: Incoming) -> dict[str, str | None]:
    return {"event_id": event.event_id, "event_type": event.event_type, "object_id": event.routed.object_id}


def _collected_by_stripe(auto_advance: bool | None, attempt_count: int | None) -> dict[str, object]:
    """Whether Stripe collects the invoice by itself, as far as that is known: see `Story.collected_by_stripe`."""
    said = {"auto_advance": auto_advance, "attempt_count": attempt_count}
    return {name: value for name, value in said.items() if value is not None}


def opening(merchant_id: MerchantId, event: Incoming, failed: OpenRecovery) -> tuple[FailedInvoice, Entry]:
    rule, text = _OPENED_BY[failed.billing_reason]
    entry = Entry(
        EntryKind.OPENED,
        rule,
        text,
        {
            **_origin(event),
            "amount": failed.amount.amount,
            "currency": failed.amount.currency,
            **_collected_by_stripe(failed.auto_advance, failed.attempt_count),
        },
        next_step=_FIRST_STEP,
    )
    return _invoice(merchant_id, failed), entry


async def look_at_failure(db: Connection, merchant_id: MerchantId, event: Incoming, failed: OpenRecovery) -> None:
    """Have a recovery that waits for its customer evaluated: an attempt failed that is not ours, so the customer's.

    The bank may ask for something else now than what the messages ask for.
    """
    for recovery in await store.lock_of_invoice(db, merchant_id, failed.invoice_id):
        told = await known.known_of_stripe(db, recovery.id)
        if recovery.state not in _WAITS_FOR_CUSTOMER or (told is not None and _is_older(event, told[0])):
            continue
        if await recovery_tasks.evaluate_again(db, merchant_id, recovery.id, recovery.invoice_id):
            text = "Another attempt at the invoice has failed."
            entry = Entry(EntryKind.CHANGED, FAILED_AGAIN, text, _origin(event), next_step="read the invoice at Stripe")
            await recoveries.record(db, recovery.id, entry)


def _invoice(merchant_id: MerchantId, failed: OpenRecovery) -> FailedInvoice:
    return FailedInvoice(
        merchant_id,
        failed.invoice_id,
        failed.subscription_id,
        failed.customer_id,
        failed.amount,
        failed.billing_reason,
        failed.paid_before,
    )


async def open_found(db: Connection, merchant_id: MerchantId, failed: Sequence[OpenRecovery]) -> list[RecoveryId]:
    """Open recoveries for failed invoices that came without an event; the ids of the new ones.

    One that was stopped when its merchant left is opened again.

    In the caller's transaction, which has locked the merchant, so that it stays connected until the commit.
    """
    text = "The payment failed; no event told of it, the invoice was found among the open ones."
    entries = [
        Entry(
            EntryKind.OPENED,
            "found_open",
            text,
            {"object_id": each.invoice_id, "amount": each.amount.amount, "currency": each.amount.currency},
            next_step=_FIRST_STEP,
        )
        for each in failed
    ]
    failures = [(_invoice(merchant_id, each), entry) for each, entry in zip(failed, entries, strict=True)]
    if not failures:
        return []
    await recovery_stops.reopen_left(db, merchant_id, [each.invoice_id for each in failed])
    return await recovery_opening.open_recoveries(db, failures)


async def _settle(db: Connection, merchant_id: MerchantId, event: Incoming, intent: InvoicePaid) -> None:
    for recovery in await store.lock_of_invoice(db, merchant_id, intent.invoice_id):
        # A payment at Stripe may not be the customer's: Stripe's own attempt, or the merchant in parts, may have
        # collected it.
        clear = intent.out_of_band or (
            intent.out_of_band is False
            and intent.paid is not None
            and intent.paid.currency == recovery.currency
            and not await known.payment_in_doubt(db, recovery.id, intent.attempt_count)
        )
        if clear or recovery.state.may_have_charged:
            out_of_band = bool(intent.out_of_band)
            paid = intent.paid if intent.paid is not None and intent.paid.currency == recovery.currency else None
            await recovery_stops.settle_paid(db, recovery.id, paid, out_of_band=out_of_band, source=event.event_type)
            continue
        # Only a reading of the invoice tells whose payment it is. Until then no message is sent; and no attempt is
        # made, because each begins with a reading.
        await recovery_tasks.cancel_messages(db, recovery.id, "the invoice was paid")
        # Two or three events tell of one payment.
        text, step = "The invoice was paid; whether at Stripe or elsewhere is to be read.", "read the invoice at Stripe"
        await _tell(db, merchant_id, recovery, Entry(EntryKind.CHANGED, PAID_SOMEHOW, text, _origin(event), step))


async def _money_after_end(db: Connection, merchant_id: MerchantId, intent: InvoicePaid) -> None:
    """Have the invoice of an ended recovery read: whether the money is ours, its charges say."""
    for recovery in await store.lock_ended_of_invoice(db, merchant_id, intent.invoice_id):
        await recovery_tasks.evaluate_now(db, merchant_id, recovery.id, recovery.invoice_id)


async def _look_at_payment(db: Connection, merchant_id: MerchantId, event: Incoming, news: PaymentNews) -> None:
    for recovery in await store.lock_of_payment(db, merchant_id, news):
        text, step = "A payment that takes days has begun or ended.", "read the invoice at Stripe"
        await _tell(db, merchant_id, recovery, Entry(EntryKind.CHANGED, PAYMENT_NEWS, text, _origin(event), step))


async def _tell(db: Connection, merchant_id: MerchantId, recovery: Concerned, news: Entry) -> None:
    """Have news of a payment looked at, and note it once, for whoever runs now or ends the recovery before that."""
    again = await recovery_tasks.evaluate_again(db, merchant_id, recovery.id, recovery.invoice_id)
    if again or not await recoveries.is_noted(db, recovery.id, news.rule):
        await recoveries.record(db, recovery.id, news)


async def _stopped_by(
    db: Connection, merchant_id: MerchantId, intent: StopInvoice | StopSubscription | StopCustomer | StopCharge
) -> list[Concerned]:
    match intent:
        case StopInvoice(invoice_id):
            return await store.lock_of_invoice(db, merchant_id, invoice_id)
        case StopSubscription(subscription_id):
            return await store.lock_of_subscription(db, merchant_id, subscription_id)
        case StopCustomer(customer_id):
            return await store.lock_of_customer(db, merchant_id, customer_id)
        case StopCharge():
            return await store.lock_of_charge(db, merchant_id, intent)
    assert_never(intent)


async def _stop(db: Connection, concerned: list[Concerned], reason: EndReason, event: Incoming) -> None:
    for recovery in concerned:
        entry = Entry(EntryKind.CLOSED, reason, _STOP_TEXTS[reason], _origin(event))
        await recovery_stops.request_stop(db, recovery.id, reason, entry)


async def _take_back(db: Connection, merchant_id: MerchantId, event: Incoming, intent: MoneyBack) -> None:
    """An open recovery of the charge's invoice ends, or notes the stop; an ended one keeps its end. Money that was
    booked is taken back in either case."""
    if intent.stop is not None:
        await _stop(db, await store.lock_of_charge(db, merchant_id, intent.stop), intent.stop.reason, event)
    told_at = event.routed.created or await business_now(db)
    # An object on a test clock may say a time ahead, and one that is told late an earlier one than its event.
    moved_at = min(told_at, intent.moved_at or told_at)
    fact = Fact(
        intent.kind,
        intent.external_id,
        intent.charge_id,
        intent.payment_intent_id,
        intent.taken,
        moved_at,
        intent.returned,
        told_at if intent.returned > 0 else None,
    )
    await recoveries.take_back(db, merchant_id, fact, _origin(event))


async def _try_card(db: Connection, merchant_id: MerchantId, event: Incoming, card: CardChanged) -> None:
    """Have the recoveries evaluated again, and keep which payment method the customer has brought."""
    for recovery in await store.lock_of_card(db, merchant_id, card):
        if card.made_default is not None:
            await recoveries.bring(db, recovery.id, card.made_default)
        if card.added is not None:
            await recoveries.bring(db, recovery.id, card.added, in_answer=True)
        # A run may have read the customer's payment methods earlier; the entry makes it read again.
        if await recovery_tasks.evaluate_again(db, merchant_id, recovery.id, recovery.invoice_id):
            text = "A payment method was added or changed."
            entry = Entry(EntryKind.CHANGED, CARD_CHANGED, text, _origin(event), next_step="decide anew at once")
            await recoveries.record(db, recovery.id, entry)


async def _write_to_address(db: Connection, merchant_id: MerchantId, event: Incoming, changed: AddressChanged) -> None:
    """Lift a bounce, and have a message sent at once to each recovery's customer if one is due.

    Which one is due is decided when it is sent; however many were missed, it is one. A recovery that was not evaluated
    yet queues its first message by itself.
    """
    concerned = await store.lock_of_customer(db, merchant_id, changed.customer_id)
    await silences.end(db, merchant_id, changed.customer_id, SilenceReason.BOUNCED)
    for recovery in concerned:
        if recovery.state not in _WAITS:
            continue
        # A message that is being sent may have read the old address: when it ends, it sees the entry.
        await recovery_tasks.message_now(db, merchant_id, recovery.id, recovery.invoice_id)
        text = "The customer has an email address, or another one."
        step = "send the message that is due, if there is one"
        entry = Entry(EntryKind.CHANGED, ADDRESS_CHANGED, text, _origin(event), step)
        await recoveries.record(db, recovery.id, entry)
    if changed.card is not None:
        await _try_card(db, merchant_id, event, changed.card)


async def _note_collection(
    db: Connection, merchant_id: MerchantId, event: Incoming, changed: InvoiceChanged | SubscriptionChanged
) -> None:
    if isinstance(changed, InvoiceChanged):
        await _note_change(db, merchant_id, event, changed)
    else:
        await _note_subscription(db, merchant_id, event, changed)


async def _note_change(db: Connection, merchant_id: MerchantId, event: Incoming, changed: InvoiceChanged) -> None:
    """Have the recovery evaluated again, unless the event says nothing new."""
    if changed.collects is not None:
        # Before there is a recovery, too: its opening reads it.
        await known.note_collection(db, merchant_id, changed.invoice_id, event.event_id, on=changed.collects)
    for recovery in await store.lock_of_invoice(db, merchant_id, changed.invoice_id):
        if await _turned(db, merchant_id, event, changed, recovery):
            continue
        going = recovery.state in _WAITS or recovery.state.may_have_charged
        told = await known.known_of_stripe(db, recovery.id)
        if not going or (told is not None and not _is_news(event, changed, *told)):
            continue
        # A run may have read the invoice earlier; the entry makes it read again.
        if await recovery_tasks.evaluate_again(db, merchant_id, recovery.id, recovery.invoice_id):
            detail = {**_origin(event), "changed": list(changed.changed)}
            if changed.next_attempt_at is not None:
                detail[STRIPE_NEXT] = changed.next_attempt_at.isoformat()
            entry = Entry(EntryKind.CHANGED, INVOICE_CHANGED, _told(changed), detail, next_step="decide anew at once")
            await recoveries.record(db, recovery.id, entry)


async def _turned(
    db: Connection, merchant_id: MerchantId, event: Incoming, changed: InvoiceChanged, recovery: Concerned
) -> bool:
    """Note that the merchant turned automatic collection off, or on again, and have that followed. False: neither.

    However late the event comes: a reading of the invoice that says otherwise has the last word.
    """
    is_off = await known.turned_off(db, recovery.id)
    if changed.collects is None or (changed.collects and not is_off):
        return False
    if not changed.collects and is_off:
        return True  # it is known, and while it is so nothing else of the invoice matters
    rule, text = COLLECTION_ON, "The merchant has turned automatic collection of the invoice on again."
    if not changed.collects:
        rule, text = COLLECTION_OFF, "The merchant has turned automatic collection of the invoice off."
        await recovery_tasks.cancel_messages(db, recovery.id, "the merchant turned automatic collection off")
    detail = {**_origin(event), **_collected_by_stripe(changed.collects, changed.attempt_count)}
    await recoveries.record(
        db, recovery.id, Entry(EntryKind.CHANGED, rule, text, detail, next_step="decide anew at once")
    )
    await recovery_tasks.evaluate_now(db, merchant_id, recovery.id, recovery.invoice_id)
    return True


async def _note_subscription(
    db: Connection, merchant_id: MerchantId, event: Incoming, changed: SubscriptionChanged
) -> None:
    """Have the subscription's recoveries evaluated: it may be paused, or go on, or end."""
    for recovery in await store.lock_of_subscription(db, merchant_id, changed.subscription_id):
        going = recovery.state in _WAITS or recovery.state.may_have_charged
        # As for an invoice: a run may have read the subscription earlier; the entry makes it read again.
        if going and await recovery_tasks.evaluate_again(db, merchant_id, recovery.id, recovery.invoice_id):
            text = f"The subscription has changed: {', '.join(changed.changed)}."
            detail = {**_origin(event), "changed": list(changed.changed)}
            entry = Entry(EntryKind.CHANGED, SUBSCRIPTION_CHANGED, text, detail, next_step="decide anew at once")
            await recoveries.record(db, recovery.id, entry)


def _is_news(event: Incoming, changed: InvoiceChanged, told_at: datetime, stripe_next: datetime | None) -> bool:
    """Whether the event says anything that was unknown to the last decision, which was made at `told_at`."""
    if _is_older(event, told_at):
        return False
    return changed.changed != (NEXT_ATTEMPT,) or changed.next_attempt_at != stripe_next


def _is_older(event: Incoming, told_at: datetime) -> bool:
    """Whether the invoice was read after this event."""
    return event.routed.created is not None and event.routed.created + _READ_WITHIN < told_at


def _told(changed: InvoiceChanged) -> str:
    if changed.changed != (NEXT_ATTEMPT,):
        return f"The invoice is to be collected otherwise: {', '.join(changed.changed)}."
    if changed.next_attempt_at is None:
        return "Stripe will not try by itself any more."
    return f"Stripe will try by itself at {changed.next_attempt_at:%Y-%m-%d %H:%M} UTC."


async def _end_merchant(db: Connection, merchant_id: MerchantId, event: Incoming) -> None:
    await store.deauthorize(db, merchant_id)
    await _stop(db, await store.lock_of_merchant(db, merchant_id), EndReason.MERCHANT_GONE, event)
    # After the recoveries, in the order of locks: a transaction that holds a recovery may wait for its tasks.
    await queued.cancel_of_merchant(db, merchant_id, "the merchant ended the connection")
