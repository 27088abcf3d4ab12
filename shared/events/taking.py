"""Taking an event in: its row and all of its effects in one transaction, or nothing.

    new event ──> recorded + effects
    same event id again ──> nothing
    another event id about the same fact ──> recorded; the effects find nothing left to do

`take` is for one event that may change a recovery, `take_together` for many that only add rows, `take_listed` for a
page of one account's events that was read at Stripe. All run in the caller's transaction, and lock in the order that
`store` gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from shared import recoveries, tasks
from shared.database import Connection
from shared.events import store
from shared.events.incoming import Incoming
from shared.events.routing import (
    NEXT_ATTEMPT,
    AddressChanged,
    CardChanged,
    Ignored,
    Intent,
    InvoiceChanged,
    InvoicePaid,
    MerchantGone,
    OpenRecovery,
    RenewalAhead,
    Routed,
    StopCharge,
    StopCustomer,
    StopInvoice,
    StopReason,
    StopSubscription,
)
from shared.events.store import Concern, Concerned, EventRow, Merchant, MerchantLock
from shared.recoveries import INVOICE_CHANGED, STRIPE_NEXT, Entry, FailedInvoice, RecoveryState


class Outcome(StrEnum):
    """What became of an event; `processed_events.outcome`."""

    ROUTED = "routed"
    IGNORED = "ignored"
    UNKNOWN_ACCOUNT = "unknown_account"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A durably committed event. `duplicate`: it had been before. `why` is a code for what was left alone."""

    outcome: Outcome
    merchant_id: str | None
    duplicate: bool
    why: str | None


# Waiting for the customer, for a time or for a card: a new card, or another invoice, may end the wait. `open` is due
# already, and an attempt in flight decides by its own outcome.
_WAITS = frozenset({RecoveryState.WAITING, RecoveryState.NEEDS_NEW_METHOD, RecoveryState.ACTION_REQUIRED})

# An invoice is read, and what it says is committed, within a minute; Stripe's clock and ours are closer than that.
_READ_WITHIN = timedelta(minutes=1)
_FIRST_STEP = "read the invoice at Stripe and decide"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

_STOP_TEXTS = {
    StopReason.PAID_ELSEWHERE: "The invoice was paid, and Stripe's event does not say how much.",
    StopReason.VOIDED: "The invoice was voided.",
    StopReason.MARKED_UNCOLLECTIBLE: "The invoice was marked uncollectible.",
    StopReason.REFUNDED: "A charge of the invoice was refunded.",
    StopReason.DISPUTED: "A charge of the invoice was disputed.",
    StopReason.SUBSCRIPTION_CANCELED: "The subscription was canceled.",
    StopReason.CUSTOMER_DELETED: "The customer was deleted.",
    StopReason.MERCHANT_GONE: "The merchant ended the connection.",
}


async def take_together(db: Connection, events: Sequence[Incoming]) -> list[Accepted | None]:
    """Record the events and open the recoveries that they ask for, in the caller's transaction, in a few statements.

    Locks in the documented order, each kind sorted by its key. None for an event that needs `take`: nothing of it was
    written.
    """
    merchants = await _merchants_of(db, events)
    judged = [judge(event, merchants.get(event.account or "")) for event in events]
    changing = await _changing(db, events, judged, merchants)
    rows: dict[str, EventRow] = {}
    for number, (event, (outcome, _)) in enumerate(zip(events, judged, strict=True)):
        if number not in changing:
            merchant = merchants.get(event.account or "")
            rows.setdefault(
                event.event_id,
                EventRow(
                    event.event_id,
                    event.event_type,
                    event.account,
                    merchant.id if merchant else None,
                    event.routed,
                    outcome,
                ),
            )
    new = await store.record_events(db, list(rows.values()))
    answers: list[Accepted | None] = []
    failures: list[tuple[FailedInvoice, Entry]] = []
    for number, (event, (outcome, why)) in enumerate(zip(events, judged, strict=True)):
        if number in changing:
            answers.append(None)
            continue
        merchant_id = rows[event.event_id].merchant_id
        fresh = event.event_id in new
        new.discard(event.event_id)  # of two deliveries in one batch the first is new
        intent = event.routed.intent
        if fresh and outcome is Outcome.ROUTED and merchant_id is not None and isinstance(intent, OpenRecovery):
            failures.append(_failure(merchant_id, event, intent))
        answers.append(Accepted(outcome, merchant_id, not fresh, why))
    if failures:
        await recoveries.open_recoveries(db, failures)
    return answers


async def _merchants_of(db: Connection, events: Sequence[Incoming]) -> dict[str, Merchant]:
    """The merchants by account; those for whom a recovery may be opened stay until the commit."""
    accounts: dict[str, bool] = {}
    for event in events:
        if event.account is not None:
            stays = isinstance(event.routed.intent, OpenRecovery)
            accounts[event.account] = accounts.get(event.account, False) or stays
    staying = [account for account, stays in accounts.items() if stays]
    others = [account for account, stays in accounts.items() if not stays]
    found = await store.find_merchants(db, staying, MerchantLock.STAYS) if staying else {}
    return found | (await store.find_merchants(db, others, MerchantLock.NONE) if others else {})


async def _changing(
    db: Connection,
    events: Sequence[Incoming],
    judged: Sequence[tuple[Outcome, str | None]],
    merchants: Mapping[str, Merchant],
) -> set[int]:
    """The places of the events that do more than open a recovery."""
    changing: set[int] = set()
    looked_up: list[tuple[int, Concern]] = []
    for number, (event, (outcome, _)) in enumerate(zip(events, judged, strict=True)):
        if outcome is not Outcome.ROUTED or event.account is None:
            continue
        merchant_id = merchants[event.account].id
        match event.routed.intent:
            case OpenRecovery() | Ignored():
                pass
            case StopCharge() | MerchantGone() | AddressChanged() | RenewalAhead():
                changing.add(number)
            case (
                InvoicePaid() | StopInvoice() | InvoiceChanged() | StopSubscription() | StopCustomer() | CardChanged()
            ) as intent:
                looked_up.append((number, _concern(merchant_id, intent)))
            case _:
                assert_never(event.routed.intent)
    if looked_up:
        found = await store.concerned_by(db, [concern for _, concern in looked_up])
        changing.update(looked_up[place][0] for place in found)
    return changing


def _concern(
    merchant_id: str,
    intent: InvoicePaid | StopInvoice | InvoiceChanged | StopSubscription | StopCustomer | CardChanged,
) -> Concern:
    match intent:
        case InvoicePaid(invoice_id=invoice_id) | StopInvoice(invoice_id) | InvoiceChanged(invoice_id=invoice_id):
            return Concern(merchant_id, invoice_id=invoice_id)
        case StopSubscription(subscription_id):
            return Concern(merchant_id, subscription_id=subscription_id)
        case StopCustomer(customer_id):
            return Concern(merchant_id, customer_id=customer_id)
        case CardChanged(customer_id, subscription_id):
            return Concern(merchant_id, None, subscription_id, customer_id if subscription_id is None else None)
    assert_never(intent)


async def take(db: Connection, event: Incoming) -> Accepted:
    """Record the event and apply what it asks for, in the caller's transaction."""
    intent = event.routed.intent
    lock = _lock_for(intent)
    merchants = await store.find_merchants(db, [event.account], lock) if event.account else {}
    merchant = merchants.get(event.account or "")
    outcome, why = judge(event, merchant)
    merchant_id = merchant.id if merchant else None
    row = EventRow(event.event_id, event.event_type, event.account, merchant_id, event.routed, outcome)
    new = bool(await store.record_events(db, [row]))
    if new and outcome is Outcome.ROUTED and merchant_id is not None:
        await _apply(db, merchant_id, event, intent)
    return Accepted(outcome, merchant_id, not new, why)


async def take_listed(db: Connection, account: str, events: Sequence[Incoming]) -> list[Accepted]:
    """Record the events of one account and apply what they ask for, all in the caller's transaction; each its answer.

    What one event locks after another would be in no order: so all recoveries that are concerned are locked first, by
    their ids, and then the events are applied in the order in which they happened.
    """
    merchants = await store.find_merchants(db, [account], MerchantLock.STAYS)
    merchant = merchants.get(account)
    merchant_id = merchant.id if merchant else None
    rows: dict[str, EventRow] = {}
    judged = [judge(event, merchant) for event in events]
    for event, (outcome, _) in zip(events, judged, strict=True):
        row = EventRow(event.event_id, event.event_type, account, merchant_id, event.routed, outcome)
        rows.setdefault(event.event_id, row)
    new = await store.record_events(db, list(rows.values()))
    answers: list[Accepted] = []
    to_apply: list[Incoming] = []
    for event, (outcome, why) in zip(events, judged, strict=True):
        fresh = event.event_id in new
        new.discard(event.event_id)
        if fresh and outcome is Outcome.ROUTED:
            to_apply.append(event)
        answers.append(Accepted(outcome, merchant_id, not fresh, why))
    if merchant_id is not None and to_apply:
        await _apply_all(db, merchant_id, sorted(to_apply, key=lambda event: event.routed.created or _LONG_AGO))
    return answers


async def _apply_all(db: Connection, merchant_id: str, events: Sequence[Incoming]) -> None:
    """The openings first, which add rows only; then the others, in their order."""
    failures: list[tuple[FailedInvoice, Entry]] = []
    concerns: list[Concern] = []
    others: list[Incoming] = []
    for event in events:
        match event.routed.intent:
            case OpenRecovery() as failed:
                failures.append(_failure(merchant_id, event, failed))
                continue
            case (
                InvoicePaid() | StopInvoice() | InvoiceChanged() | StopSubscription() | StopCustomer() | CardChanged()
            ) as intent:
                concerns.append(_concern(merchant_id, intent))
            case _:
                pass  # a charge's recovery is found through its attempts, and the rest changes none
        others.append(event)
    if concerns:
        await store.lock_concerned(db, merchant_id, concerns)
    if failures:
        await recoveries.open_recoveries(db, failures)
    for event in others:
        await _apply(db, merchant_id, event, event.routed.intent)


def judge(event: Incoming, merchant: Merchant | None) -> tuple[Outcome, str | None]:
    """What becomes of the event, given whom it is about; and a code that says why it is left alone."""
    if event.account is None:
        return Outcome.PLATFORM, "platform_account"
    if merchant is None:
        return Outcome.UNKNOWN_ACCOUNT, "unknown_account"
    why = _left_alone(event.routed, merchant)
    return (Outcome.ROUTED if why is None else Outcome.IGNORED), why


def _left_alone(routed: Routed, merchant: Merchant) -> str | None:
    # A live Connect endpoint is sent the account's test events too: https://docs.stripe.com/connect/webhooks
    if None not in (routed.livemode, merchant.livemode) and routed.livemode != merchant.livemode:
        return "other_mode"
    match routed.intent:
        case Ignored(why):
            return why
        case MerchantGone():
            return "older_than_the_connection" if _before_connection(routed, merchant) else None
        case _:
            return None if merchant.status == "active" else f"merchant_{merchant.status}"


def _before_connection(routed: Routed, merchant: Merchant) -> bool:
    """Whether the merchant connected anew after this event: it ended the connection before, and comes late."""
    if routed.created is None or merchant.connected_at is None or merchant.status != "active":
        return False
    return routed.created + timedelta(seconds=1) <= merchant.connected_at  # Stripe's times are whole seconds


def _lock_for(intent: Intent) -> MerchantLock:
    match intent:
        case OpenRecovery():
            return MerchantLock.STAYS
        case MerchantGone():
            return MerchantLock.LEAVES
        case _:
            return MerchantLock.NONE


async def _apply(db: Connection, merchant_id: str, event: Incoming, intent: Intent) -> None:
    match intent:
        case OpenRecovery():
            await recoveries.open_recoveries(db, [_failure(merchant_id, event, intent)])
        case InvoicePaid():
            await _settle(db, merchant_id, event, intent)
        case StopInvoice() | StopSubscription() | StopCustomer() | StopCharge():
            await _stop(db, await _stopped_by(db, merchant_id, intent), intent.reason, event)
        case CardChanged():
            await _try_card(db, merchant_id, event, intent)
        case InvoiceChanged():
            await _note_change(db, merchant_id, event, intent)
        case AddressChanged(customer_id):
            await store.lift_bounce(db, merchant_id, customer_id)
        case RenewalAhead():
            await _look_at_card(db, merchant_id, intent)
        case MerchantGone():
            await _end_merchant(db, merchant_id, event)
        case Ignored():
            pass
        case _:
            assert_never(intent)


def _origin(event: Incoming) -> dict[str, str | None]:
    return {"event_id": event.event_id, "event_type": event.event_type, "object_id": event.routed.object_id}


def _failure(merchant_id: str, event: Incoming, failed: OpenRecovery) -> tuple[FailedInvoice, Entry]:
    entry = Entry(
        "opened",
        "renewal_failed",
        "The renewal's payment failed.",
        {**_origin(event), "amount": failed.amount.amount, "currency": failed.amount.currency},
        next_step=_FIRST_STEP,
    )
    return _invoice(merchant_id, failed), entry


def _invoice(merchant_id: str, failed: OpenRecovery) -> FailedInvoice:
    return FailedInvoice(merchant_id, failed.invoice_id, failed.subscription_id, failed.customer_id, failed.amount)


async def open_found(db: Connection, merchant_id: str, failed: Sequence[OpenRecovery]) -> list[UUID]:
    """Open recoveries for failed renewals that no event told of, in the caller's transaction; the ids of the new ones.

    The merchant is locked by the caller, so that it stays connected until the commit.
    """
    text = "The renewal's payment failed; no event told of it, it was found among the open invoices."
    entries = [
        Entry(
            "opened",
            "found_open",
            text,
            {"object_id": each.invoice_id, "amount": each.amount.amount, "currency": each.amount.currency},
            next_step=_FIRST_STEP,
        )
        for each in failed
    ]
    failures = [(_invoice(merchant_id, each), entry) for each, entry in zip(failed, entries, strict=True)]
    return await recoveries.open_recoveries(db, failures) if failures else []


async def _settle(db: Connection, merchant_id: str, event: Incoming, intent: InvoicePaid) -> None:
    for recovery in await store.lock_of_invoice(db, merchant_id, intent.invoice_id):
        # Paid at Stripe is not yet paid by the customer: Stripe's own attempt may have collected it.
        known = intent.out_of_band or (
            intent.out_of_band is False and not await store.stripe_tries_itself(db, recovery.id)
        )
        if known or recovery.state is RecoveryState.ATTEMPTING:
            out_of_band = bool(intent.out_of_band)
            await recoveries.settle_paid(db, recovery.id, intent.paid, out_of_band=out_of_band, source=event.event_type)
            continue
        # Whose money it is, only Stripe can say. Until it is read no message goes out, and no attempt is made: each
        # begins with reading the invoice.
        silenced = await store.cancel_messages(db, recovery.id, "the invoice was paid")
        if await _evaluate_now(db, merchant_id, recovery) or silenced:
            text = "The invoice was paid; whether at Stripe or elsewhere is to be read."
            entry = Entry("changed", "paid_somehow", text, _origin(event), next_step="read the invoice at Stripe")
            await recoveries.record(db, recovery.id, entry)


async def _stopped_by(
    db: Connection, merchant_id: str, intent: StopInvoice | StopSubscription | StopCustomer | StopCharge
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


async def _stop(db: Connection, concerned: list[Concerned], reason: StopReason, event: Incoming) -> None:
    for recovery in concerned:
        entry = Entry("closed", reason, _STOP_TEXTS[reason], _origin(event))
        await recoveries.request_stop(db, recovery.id, reason, entry)


async def _try_card(db: Connection, merchant_id: str, event: Incoming, card: CardChanged) -> None:
    for recovery in await store.lock_of_card(db, merchant_id, card):
        if recovery.state in _WAITS and await _evaluate_now(db, merchant_id, recovery):
            text = "A payment method was added or changed."
            entry = Entry("changed", "card_changed", text, _origin(event), next_step="decide anew at once")
            await recoveries.record(db, recovery.id, entry)


async def _note_change(db: Connection, merchant_id: str, event: Incoming, changed: InvoiceChanged) -> None:
    """Have the recovery decided anew by the invoice as it is now, unless what the event says is known."""
    for recovery in await store.lock_of_invoice(db, merchant_id, changed.invoice_id):
        going = recovery.state in _WAITS or recovery.state is RecoveryState.ATTEMPTING
        known = await store.known_of_stripe(db, recovery.id)
        if not going or (known is not None and not _is_news(event, changed, *known)):
            continue
        # Whoever runs it may have read the invoice before this: it is told, and the run looks again at its end.
        if await _evaluate_now(db, merchant_id, recovery) or await store.runs(db, _key(recovery)):
            detail = {**_origin(event), "changed": list(changed.changed)}
            if changed.next_attempt_at is not None:
                detail[STRIPE_NEXT] = changed.next_attempt_at.isoformat()
            entry = Entry("changed", INVOICE_CHANGED, _told(changed), detail, next_step="decide anew at once")
            await recoveries.record(db, recovery.id, entry)


def _is_news(event: Incoming, changed: InvoiceChanged, told_at: datetime, stripe_next: datetime | None) -> bool:
    """Whether the event says anything that the last decision, made at `told_at`, did not know."""
    if event.routed.created is not None and event.routed.created + _READ_WITHIN < told_at:
        return False  # the invoice was read after this
    return changed.changed != (NEXT_ATTEMPT,) or changed.next_attempt_at != stripe_next


def _told(changed: InvoiceChanged) -> str:
    if changed.changed != (NEXT_ATTEMPT,):
        return f"The invoice is to be collected otherwise: {', '.join(changed.changed)}."
    if changed.next_attempt_at is None:
        return "Stripe will not try by itself any more."
    return f"Stripe will try by itself at {changed.next_attempt_at:%Y-%m-%d %H:%M} UTC."


async def _look_at_card(db: Connection, merchant_id: str, ahead: RenewalAhead) -> None:
    """Have the customer told, when it is time, if the card will have expired; once queued, it is not queued again."""
    payload = {"customer_id": ahead.customer_id, "subscription_id": ahead.subscription_id}
    unique_key = f"warn_card_expiring:{merchant_id}:{ahead.subscription_id}"
    await tasks.enqueue(db, tasks.NewTask(merchant_id, "warn_card_expiring", payload, unique_key=unique_key))


async def _evaluate_now(db: Connection, merchant_id: str, recovery: Concerned) -> bool:
    """Have the recovery decided anew at once. False: it is about to be, or is being, anyway."""
    unique_key = _key(recovery)
    if await store.wake(db, unique_key):
        return True
    payload = {"invoice_id": recovery.invoice_id}
    task = tasks.NewTask(merchant_id, "dunning_retry", payload, recovery_id=recovery.id, unique_key=unique_key)
    return await tasks.enqueue(db, task) is not None


def _key(recovery: Concerned) -> str:
    return f"dunning_retry:{recovery.id}"


async def _end_merchant(db: Connection, merchant_id: str, event: Incoming) -> None:
    await store.deauthorize(db, merchant_id)
    await _stop(db, await store.lock_of_merchant(db, merchant_id), StopReason.MERCHANT_GONE, event)
    # After the recoveries: whoever holds one may be waiting for its tasks.
    await tasks.cancel_of_merchant(db, merchant_id, "the merchant ended the connection")
