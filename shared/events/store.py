"""The SQL of taking events in. The SQL of tasks is in `shared.queue`, that of recoveries in `shared.recoveries` and in
the modules beside it.

The order of locks in a transaction, the same for every event: the merchant, the event's row, all recoveries that are
concerned (by id), the names of charges (`shared.booked_charges`), what belongs to them (tasks, totals by currency).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.database import Connection
from shared.events.intents import CardChanged, PaymentNews, Routed, StopCharge
from shared.ids import AccountId, CustomerId, InvoiceId, MerchantId, RecoveryId, SubscriptionId
from shared.recovery_model import RecoveryState


@dataclass(frozen=True, slots=True)
class MerchantOfEvent:
    """The connected account that an event is about."""

    id: MerchantId
    status: str
    livemode: bool | None
    connected_at: datetime | None


@dataclass(frozen=True, slots=True)
class Concerned:
    """An open recovery that an event is about, locked until the end of the transaction."""

    id: RecoveryId
    invoice_id: InvoiceId
    state: RecoveryState
    currency: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """What is kept of an event. `outcome` is an `EventOutcome`."""

    event_id: str
    event_type: str
    account: AccountId | None
    merchant_id: MerchantId | None
    routed: Routed
    outcome: str


@dataclass(frozen=True, slots=True)
class Concern:
    """What an event is about: the ids that it gives, within one merchant.

    `ended`: money for the invoice concerns its recovery after an end, too, unless it ended because it was settled.
    """

    merchant_id: MerchantId
    invoice_id: InvoiceId | None = None
    subscription_id: SubscriptionId | None = None
    customer_id: CustomerId | None = None
    ended: bool = False


class MerchantLock(StrEnum):
    """How strongly the merchant's row is locked until the commit."""

    NONE = "none"
    STAYS = "stays"  # it cannot be disconnected meanwhile
    LEAVES = "leaves"  # no recovery can be opened for it meanwhile


FIND_MERCHANTS = """
SELECT stripe_connect_id, id::text AS id, status, livemode, connected_at
FROM merchants
WHERE stripe_connect_id = ANY ($1::text[])
"""

# Only events that open a recovery take this lock, so few transactions at a time lock a merchant's row.
FIND_MERCHANTS_THAT_STAY = FIND_MERCHANTS + "ORDER BY merchants.id\nFOR SHARE\n"

FIND_MERCHANTS_THAT_LEAVE = FIND_MERCHANTS + "ORDER BY merchants.id\nFOR UPDATE\n"

_FINDING = {
    MerchantLock.NONE: FIND_MERCHANTS,
    MerchantLock.STAYS: FIND_MERCHANTS_THAT_STAY,
    MerchantLock.LEAVES: FIND_MERCHANTS_THAT_LEAVE,
}

# A concurrent duplicate waits here for the commit or rollback of the first. In the order of the key, because two
# transactions with the same events in different orders would deadlock.
RECORD_EVENTS = """
INSERT INTO processed_events
    (event_id, processed_at, event_type, stripe_account, merchant_id, object_id, api_version, event_created_at, outcome)
SELECT event_id, clock.now, event_type, stripe_account, merchant_id, object_id, api_version, event_created_at, outcome
FROM (SELECT citadel_now() AS now) AS clock,
    unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[])
        AS e (event_id, event_type, stripe_account, merchant_id, object_id, api_version, event_created_at, outcome)
ORDER BY event_id
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id
"""

# An ended recovery whose invoice was not settled when it ended: money that comes now may be ours.
_MONEY_MAY_COME = (
    "r.state IN ('exhausted', 'stopped') AND r.end_reason NOT IN ('paid_elsewhere', 'credited', 'refunded', 'disputed')"
)

# Which of these concern an open recovery, by any of their ids. Without a lock: an event that is found is taken again,
# alone, and locks then.
CONCERNED_BY = """
SELECT c.place
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[]) WITH ORDINALITY
    AS c (merchant_id, invoice_id, subscription_id, customer_id, ended, place)
WHERE EXISTS (
        SELECT FROM recoveries AS r
        WHERE r.merchant_id = c.merchant_id AND r.invoice_id = c.invoice_id
            AND (r.closed_at IS NULL OR (c.ended AND <money_may_come>))
    )
    OR EXISTS (
        SELECT FROM recoveries AS r
        WHERE r.merchant_id = c.merchant_id AND r.subscription_id = c.subscription_id AND r.closed_at IS NULL
    )
    OR EXISTS (
        SELECT FROM recoveries AS r
        WHERE r.merchant_id = c.merchant_id AND r.customer_id = c.customer_id AND r.closed_at IS NULL
    )
""".replace("<money_may_come>", _MONEY_MAY_COME)

LOCK_OF_INVOICE = """
SELECT id, invoice_id, state, currency
FROM recoveries
WHERE merchant_id = $1 AND invoice_id = $2 AND closed_at IS NULL
ORDER BY id
FOR UPDATE
"""

LOCK_ENDED_OF_INVOICE = f"""
SELECT r.id, r.invoice_id, r.state, r.currency
FROM recoveries AS r
WHERE r.merchant_id = $1 AND r.invoice_id = $2 AND {_MONEY_MAY_COME}
ORDER BY r.id
FOR UPDATE
"""  # noqa: S608 - put together from this module's own SQL only

LOCK_OF_SUBSCRIPTION = """
SELECT id, invoice_id, state, currency
FROM recoveries
WHERE merchant_id = $1 AND subscription_id = $2 AND closed_at IS NULL
ORDER BY id
FOR UPDATE
"""

LOCK_OF_CUSTOMER = """
SELECT id, invoice_id, state, currency
FROM recoveries
WHERE merchant_id = $1 AND customer_id = $2 AND closed_at IS NULL
ORDER BY id
FOR UPDATE
"""

LOCK_OF_MERCHANT = """
SELECT id, invoice_id, state, currency
FROM recoveries
WHERE merchant_id = $1 AND closed_at IS NULL
ORDER BY id
FOR UPDATE
"""

LOCK_CONCERNED = """
SELECT
FROM recoveries
WHERE merchant_id = $1
    AND closed_at IS NULL
    AND (
        invoice_id = ANY ($2::text[])
        OR subscription_id = ANY ($3::text[])
        OR customer_id = ANY ($4::text[])
        OR id = ANY ($5::uuid[])
    )
ORDER BY id
FOR UPDATE
"""

FIND_OF_CHARGES = """
SELECT r.id
FROM recoveries AS r
WHERE r.merchant_id = $1
    AND r.closed_at IS NULL
    AND (
        r.invoice_id = ANY ($2::text[])
        OR EXISTS (
            SELECT
            FROM attempts AS a
            WHERE a.recovery_id = r.id AND (a.charge_id = ANY ($3::text[]) OR a.payment_intent_id = ANY ($4::text[]))
        )
    )
"""

# From the merchant's open recoveries to their attempts, each by an index: `attempts` has no index by charge alone.
LOCK_OF_CHARGE = """
SELECT id, invoice_id, state, currency
FROM recoveries AS r
WHERE merchant_id = $1
    AND closed_at IS NULL
    AND (
        invoice_id = $2
        OR EXISTS (
            SELECT
            FROM attempts AS a
            WHERE a.recovery_id = r.id AND (a.charge_id = $3 OR a.payment_intent_id = $4)
        )
    )
ORDER BY id
FOR UPDATE
"""

# The customer's open recoveries, because only a reading tells which of them a payment is for; and an ended one whose
# money was booked.
LOCK_OF_PAYMENT = """
SELECT id, invoice_id, state, currency
FROM recoveries AS r
WHERE merchant_id = $1
    AND (
        closed_at IS NULL
        AND (
            customer_id = $4
            OR EXISTS (
                SELECT
                FROM attempts AS a
                WHERE a.recovery_id = r.id AND (a.charge_id = $2 OR a.payment_intent_id = $3)
            )
        )
        OR id = ANY (ARRAY(SELECT recovery_id FROM recovered_charges WHERE merchant_id = $1 AND charge_id = $2))
    )
ORDER BY id
FOR UPDATE
"""

# The tokens are wiped without being read: this role cannot read them. A merchant that disconnected through us stays
# `disconnected` when Stripe's event about it arrives.
DEAUTHORIZE = """
UPDATE merchants
SET status = 'deauthorized', access_token = NULL, refresh_token = NULL, disconnected_at = citadel_now()
WHERE id = $1::text::uuid AND status = 'active'
"""


async def find_merchants(
    db: Connection, accounts: Sequence[AccountId], lock: MerchantLock
) -> dict[AccountId, MerchantOfEvent]:
    """The merchants of these Stripe accounts, by account; accounts that never connected are left out."""
    rows = await db.fetch(_FINDING[lock], accounts)
    return {row[0]: MerchantOfEvent(row[1], row[2], row[3], row[4]) for row in rows}


async def record_events(db: Connection, rows: Sequence[EventRow]) -> set[str]:
    """Record the events; the ids of those that are new. The others must have no effect."""
    recorded = await db.fetch(
        RECORD_EVENTS,
        [row.event_id for row in rows],
        [row.event_type for row in rows],
        [row.account for row in rows],
        [row.merchant_id for row in rows],
        [row.routed.object_id for row in rows],
        [row.routed.api_version for row in rows],
        [row.routed.created for row in rows],
        [row.outcome for row in rows],
    )
    return {row[0] for row in recorded}


async def concerned_by(db: Connection, concerns: Sequence[Concern]) -> list[int]:
    """The positions, from 0, of those that concern an open recovery."""
    rows = await db.fetch(
        CONCERNED_BY,
        [concern.merchant_id for concern in concerns],
        [concern.invoice_id for concern in concerns],
        [concern.subscription_id for concern in concerns],
        [concern.customer_id for concern in concerns],
        [concern.ended for concern in concerns],
    )
    return [row[0] - 1 for row in rows]


async def _lock(db: Connection, statement: str, *arguments: str | None) -> list[Concerned]:
    rows = await db.fetch(statement, *arguments)
    concerned = [Concerned(row["id"], row["invoice_id"], RecoveryState(row["state"]), row["currency"]) for row in rows]
    # Ends update totals by currency: always in the same order, or two events about two currencies would deadlock.
    return sorted(concerned, key=lambda recovery: (recovery.currency, recovery.id))


async def lock_of_invoice(db: Connection, merchant_id: MerchantId, invoice_id: InvoiceId) -> list[Concerned]:
    """The open recovery of an invoice: at most one."""
    return await _lock(db, LOCK_OF_INVOICE, merchant_id, invoice_id)


async def lock_ended_of_invoice(db: Connection, merchant_id: MerchantId, invoice_id: InvoiceId) -> list[Concerned]:
    """The recovery of an invoice if it has ended and money for it may still be ours: at most one."""
    return await _lock(db, LOCK_ENDED_OF_INVOICE, merchant_id, invoice_id)


async def lock_of_payment(db: Connection, merchant_id: MerchantId, news: PaymentNews) -> list[Concerned]:
    """The recoveries that a payment which takes days may be for, or whose money it was booked as."""
    return await _lock(db, LOCK_OF_PAYMENT, merchant_id, news.charge_id, news.payment_intent_id, news.customer_id)


async def lock_of_subscription(
    db: Connection, merchant_id: MerchantId, subscription_id: SubscriptionId
) -> list[Concerned]:
    """The open recoveries of a subscription."""
    return await _lock(db, LOCK_OF_SUBSCRIPTION, merchant_id, subscription_id)


async def lock_of_customer(db: Connection, merchant_id: MerchantId, customer_id: CustomerId) -> list[Concerned]:
    """The open recoveries of a customer."""
    return await _lock(db, LOCK_OF_CUSTOMER, merchant_id, customer_id)


async def lock_of_merchant(db: Connection, merchant_id: MerchantId) -> list[Concerned]:
    """The open recoveries of a merchant."""
    return await _lock(db, LOCK_OF_MERCHANT, merchant_id)


async def lock_of_charge(db: Connection, merchant_id: MerchantId, stop: StopCharge) -> list[Concerned]:
    """The open recoveries to whose invoice, or to one of whose attempts, the charge belongs."""
    return await _lock(db, LOCK_OF_CHARGE, merchant_id, stop.invoice_id, stop.charge_id, stop.payment_intent_id)


async def lock_concerned(
    db: Connection, merchant_id: MerchantId, concerns: Sequence[Concern], charges: Sequence[StopCharge] = ()
) -> None:
    """Lock, by id, every open recovery that one of these is about."""
    of_charges = [row["id"] for row in await db.fetch(FIND_OF_CHARGES, merchant_id, *_ids(charges))] if charges else []
    await db.execute(
        LOCK_CONCERNED,
        merchant_id,
        [concern.invoice_id for concern in concerns if concern.invoice_id],
        [concern.subscription_id for concern in concerns if concern.subscription_id],
        [concern.customer_id for concern in concerns if concern.customer_id],
        of_charges,
    )


def _ids(charges: Sequence[StopCharge]) -> tuple[list[str], list[str], list[str]]:
    return (
        [charge.invoice_id for charge in charges if charge.invoice_id],
        [charge.charge_id for charge in charges if charge.charge_id],
        [charge.payment_intent_id for charge in charges if charge.payment_intent_id],
    )


async def lock_of_card(db: Connection, merchant_id: MerchantId, card: CardChanged) -> list[Concerned]:
    """The open recoveries that a changed card may help."""
    if card.subscription_id is not None:
        return await lock_of_subscription(db, merchant_id, card.subscription_id)
    return await lock_of_customer(db, merchant_id, card.customer_id) if card.customer_id is not None else []


async def deauthorize(db: Connection, merchant_id: MerchantId) -> None:
    """Mark the merchant as gone and wipe its tokens."""
    await db.execute(DEAUTHORIZE, merchant_id)
