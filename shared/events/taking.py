"""Taking an event in: its row and all of its effects in one transaction, or nothing.

    new event ──> recorded + effects
    same event id again ──> nothing
    another event id about the same fact ──> recorded, without effects

`take` is for one event that may change a recovery, `take_together` for many that only add rows, `take_listed` for a
page of one account's events from Stripe's list. All run in the caller's transaction, and lock in the order that `store`
gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import assert_never

from shared import booked_charges, recovery_opening
from shared.database import Connection
from shared.events import store
from shared.events.effects import apply, look_at_failure, opening
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
    Routed,
    StopCharge,
    StopCustomer,
    StopInvoice,
    StopSubscription,
    SubscriptionChanged,
)
from shared.events.store import Concern, EventRow, MerchantLock, MerchantOfEvent
from shared.ids import AccountId, ChargeId, MerchantId, PaymentIntentId
from shared.recovery_model import Entry, FailedInvoice


class EventOutcome(StrEnum):
    """How an event was taken; `processed_events.outcome`."""

    ROUTED = "routed"
    IGNORED = "ignored"
    UNKNOWN_ACCOUNT = "unknown_account"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A committed event. `duplicate`: it was recorded before. `why` is a code for an event without effects."""

    outcome: EventOutcome
    merchant_id: MerchantId | None
    duplicate: bool
    why: str | None


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


async def take_together(db: Connection, events: Sequence[Incoming]) -> list[Accepted | None]:
    """Record the events and open the recoveries that they ask for, in the caller's transaction, in a few statements.

    Locks in the documented order, each kind sorted by its key. None for an event that needs `take`; nothing was written
    for it.
    """
    merchants = await _merchants_of(db, events)
    judged = [judge(event, _merchant_of(event, merchants)) for event in events]
    changing = await _changing(db, events, judged, merchants)
    rows: dict[str, EventRow] = {}
    for number, (event, (outcome, _)) in enumerate(zip(events, judged, strict=True)):
        if number not in changing:
            merchant = _merchant_of(event, merchants)
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
        new.discard(event.event_id)  # if a batch has two deliveries of an event, the first one is new
        intent = event.routed.intent
        if fresh and outcome is EventOutcome.ROUTED and merchant_id is not None and isinstance(intent, OpenRecovery):
            failures.append(opening(merchant_id, event, intent))
        answers.append(Accepted(outcome, merchant_id, not fresh, why))
    if failures:
        await recovery_opening.open_recoveries(db, failures)
    return answers


async def _merchants_of(db: Connection, events: Sequence[Incoming]) -> dict[AccountId, MerchantOfEvent]:
    """The merchants by account; those for whom a recovery may be opened are locked until the commit."""
    accounts: dict[AccountId, bool] = {}
    for event in events:
        if event.account is not None:
            stays = isinstance(event.routed.intent, OpenRecovery)
            accounts[event.account] = accounts.get(event.account, False) or stays
    staying = [account for account, stays in accounts.items() if stays]
    others = [account for account, stays in accounts.items() if not stays]
    found = await store.find_merchants(db, staying, MerchantLock.STAYS) if staying else {}
    return found | (await store.find_merchants(db, others, MerchantLock.NONE) if others else {})


def _merchant_of(event: Incoming, merchants: Mapping[AccountId, MerchantOfEvent]) -> MerchantOfEvent | None:
    return None if event.account is None else merchants.get(event.account)


async def _changing(
    db: Connection,
    events: Sequence[Incoming],
    judged: Sequence[tuple[EventOutcome, str | None]],
    merchants: Mapping[AccountId, MerchantOfEvent],
) -> set[int]:
    """The positions of the events that do more than open a recovery, or do not open one because it is open."""
    changing: set[int] = set()
    looked_up: list[tuple[int, Concern]] = []
    for number, (event, (outcome, _)) in enumerate(zip(events, judged, strict=True)):
        if outcome is not EventOutcome.ROUTED or event.account is None:
            continue
        merchant_id = merchants[event.account].id
        match event.routed.intent:
            case Ignored():
                pass
            case StopCharge() | MoneyBack() | PaymentNews() | MerchantGone() | AddressChanged() | RenewalAhead():
                changing.add(number)
            case InvoiceChanged(collects=True | False):
                changing.add(number)  # kept for an invoice without a recovery, too
            case (
                OpenRecovery()
                | InvoicePaid()
                | StopInvoice()
                | InvoiceChanged()
                | StopSubscription()
                | SubscriptionChanged()
                | StopCustomer()
                | CardChanged()
            ) as intent:
                looked_up.append((number, _concern(merchant_id, intent)))
            case _:
                assert_never(event.routed.intent)
    if looked_up:
        found = await store.concerned_by(db, [concern for _, concern in looked_up])
        changing.update(looked_up[place][0] for place in found)
    return changing


def _concern(
    merchant_id: MerchantId,
    intent: OpenRecovery
    | InvoicePaid
    | StopInvoice
    | InvoiceChanged
    | StopSubscription
    | SubscriptionChanged
    | StopCustomer
    | CardChanged
    | AddressChanged,
) -> Concern:
    match intent:
        case InvoicePaid(invoice_id=invoice_id):
            return Concern(merchant_id, invoice_id=invoice_id, ended=True)
        case OpenRecovery(invoice_id=invoice_id) | StopInvoice(invoice_id) | InvoiceChanged(invoice_id=invoice_id):
            return Concern(merchant_id, invoice_id=invoice_id)
        case StopSubscription(subscription_id) | SubscriptionChanged(subscription_id):
            return Concern(merchant_id, subscription_id=subscription_id)
        case StopCustomer(customer_id) | AddressChanged(customer_id):
            return Concern(merchant_id, customer_id=customer_id)
        case CardChanged(customer_id, subscription_id):
            return Concern(merchant_id, None, subscription_id, customer_id if subscription_id is None else None)
    assert_never(intent)


async def take(db: Connection, event: Incoming) -> Accepted:
    """Record the event and apply what it asks for, in the caller's transaction."""
    intent = event.routed.intent
    lock = _lock_for(intent)
    merchants = await store.find_merchants(db, [event.account], lock) if event.account else {}
    merchant = _merchant_of(event, merchants)
    outcome, why = judge(event, merchant)
    merchant_id = merchant.id if merchant else None
    row = EventRow(event.event_id, event.event_type, event.account, merchant_id, event.routed, outcome)
    new = bool(await store.record_events(db, [row]))
    if new and outcome is EventOutcome.ROUTED and merchant_id is not None:
        await apply(db, merchant_id, event, intent)
    return Accepted(outcome, merchant_id, not new, why)


async def take_listed(db: Connection, account: AccountId, events: Sequence[Incoming]) -> list[Accepted]:
    """Record the events of one account and apply what they ask for, in the caller's transaction; an answer for each.

    Locking event by event would follow no order. So the recoveries that are concerned are locked first, by their ids,
    and the charges that money is taken back of, and then the events are applied in the order in which they happened.
    """
    merchants = await store.find_merchants(db, [account], lock_for_list(events))
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
        if fresh and outcome is EventOutcome.ROUTED:
            to_apply.append(event)
        answers.append(Accepted(outcome, merchant_id, not fresh, why))
    if merchant_id is not None and to_apply:
        await _apply_all(db, merchant_id, sorted(to_apply, key=lambda event: event.routed.created or _LONG_AGO))
    return answers


async def _apply_all(db: Connection, merchant_id: MerchantId, events: Sequence[Incoming]) -> None:
    """First the events that open recoveries, which only add rows; then the others, in their order."""
    failures: list[tuple[FailedInvoice, Entry]] = []
    concerns: list[Concern] = []
    charges: list[StopCharge] = []
    names: list[ChargeId | PaymentIntentId | None] = []
    others: list[Incoming] = []
    again: list[tuple[Incoming, OpenRecovery]] = []
    for event in events:
        match event.routed.intent:
            case OpenRecovery() as failed:
                failures.append(opening(merchant_id, event, failed))
                concerns.append(_concern(merchant_id, failed))
                again.append((event, failed))
                continue
            case (
                InvoicePaid()
                | StopInvoice()
                | InvoiceChanged()
                | StopSubscription()
                | SubscriptionChanged()
                | StopCustomer()
                | CardChanged()
                | AddressChanged()
            ) as intent:
                concerns.append(_concern(merchant_id, intent))
            case StopCharge() as stop:
                charges.append(stop)
            case MoneyBack() as back:
                charges += [back.stop] if back.stop is not None else []
                names += [back.charge_id, back.payment_intent_id]
            case _:
                pass  # the other listed intents change no recovery
        others.append(event)
    if concerns or charges:
        await store.lock_concerned(db, merchant_id, concerns, charges)
    if names:
        await booked_charges.lock_names(db, merchant_id, names)
    if failures:
        await recovery_opening.open_recoveries(db, failures)
    for event, failed in again:
        await look_at_failure(db, merchant_id, event, failed)
    for event in others:
        await apply(db, merchant_id, event, event.routed.intent)


def judge(event: Incoming, merchant: MerchantOfEvent | None) -> tuple[EventOutcome, str | None]:
    """The event's outcome, given its merchant; and a code for why it has no effects."""
    if event.account is None:
        return EventOutcome.PLATFORM, "platform_account"
    if merchant is None:
        return EventOutcome.UNKNOWN_ACCOUNT, "unknown_account"
    why = _left_alone(event.routed, merchant)
    return (EventOutcome.ROUTED if why is None else EventOutcome.IGNORED), why


def _left_alone(routed: Routed, merchant: MerchantOfEvent) -> str | None:
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


def _before_connection(routed: Routed, merchant: MerchantOfEvent) -> bool:
    """Whether the merchant has connected again since this event, which ended the connection before and comes late."""
    if routed.created is None or merchant.connected_at is None or merchant.status != "active":
        return False
    return routed.created + timedelta(seconds=1) <= merchant.connected_at  # Stripe's times are whole seconds


def lock_for_list(events: Sequence[Incoming]) -> MerchantLock:
    """How strongly `take_listed` locks the merchant for these events."""
    leaves = any(_lock_for(event.routed.intent) is MerchantLock.LEAVES for event in events)
    return MerchantLock.LEAVES if leaves else MerchantLock.STAYS


def _lock_for(intent: Intent) -> MerchantLock:
    match intent:
        case OpenRecovery():
            return MerchantLock.STAYS
        case MerchantGone() | InvoiceChanged(collects=False):
            return MerchantLock.LEAVES
        case _:
            return MerchantLock.NONE
