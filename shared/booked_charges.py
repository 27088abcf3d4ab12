"""The SQL of charges that were booked as recovered, and of what was said of their refunds and disputes.

Whoever books a charge, and whoever notes a fact about it, locks the charge's names first: neither sees what the other
has not committed yet. In the order of locks the names come after the recoveries and before the totals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from asyncpg import Record

from shared.database import Connection
from shared.ids import ChargeId, MerchantId, PaymentIntentId, RecoveryId
from shared.money import Money
from shared.money_back import Fact, Kind, Sums
from shared.recovery_model import MovedMoney

LOCK_NAMES = """
SELECT pg_advisory_xact_lock(hashtextextended('charge/' || $1 || '/' || name, 0))
FROM (SELECT unnest($2::text[]) AS name ORDER BY name) AS names
"""

# Of a refund and a dispute the most that was ever said, at the earliest; of a charge's sum what it said last.
NOTE = """
INSERT INTO money_back AS m
    (merchant_id, kind, external_id, charge_id, payment_intent_id, amount, returned, currency, moved_at, returned_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (merchant_id, kind, external_id) DO UPDATE SET
    charge_id = COALESCE(m.charge_id, excluded.charge_id),
    payment_intent_id = COALESCE(m.payment_intent_id, excluded.payment_intent_id),
    amount = CASE
        WHEN m.kind <> 'refunds' THEN greatest(m.amount, excluded.amount)
        WHEN (excluded.moved_at, excluded.amount) > (m.moved_at, m.amount) THEN excluded.amount
        ELSE m.amount
    END,
    returned = greatest(m.returned, excluded.returned),
    moved_at = CASE
        WHEN m.kind = 'refunds' THEN greatest(m.moved_at, excluded.moved_at)
        ELSE least(m.moved_at, excluded.moved_at)
    END,
    returned_at = least(m.returned_at, excluded.returned_at)
"""

INSERT_CHARGES = """
INSERT INTO recovered_charges (merchant_id, charge_id, recovery_id, payment_intent_id, amount, currency, charged_at)
SELECT $1, charge_id, $2, payment_intent_id, amount, currency, charged_at
FROM unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::timestamptz[])
    AS c (charge_id, payment_intent_id, amount, currency, charged_at)
WHERE amount > 0
ORDER BY charge_id
ON CONFLICT (merchant_id, charge_id) DO NOTHING
RETURNING charge_id, payment_intent_id, recovery_id, amount, currency, refunded, disputed, won_back
"""

FAIL = """
UPDATE recovered_charges
SET failed_at = citadel_now()
WHERE recovery_id = $1 AND charge_id = ANY ($2::text[]) AND failed_at IS NULL
"""

OF_RECOVERY = """
SELECT charge_id, payment_intent_id, amount, currency, charged_at
FROM recovered_charges
WHERE recovery_id = $1 AND failed_at IS NULL
ORDER BY charge_id
"""

# Nothing of a charge is booked any more that has failed after it had succeeded. The payment's id is for refunds that
# name no charge.
LOCK_CHARGE = """
SELECT charge_id, payment_intent_id, recovery_id, currency, refunded, disputed, won_back,
    CASE WHEN failed_at IS NULL THEN amount ELSE 0 END AS amount
FROM recovered_charges
WHERE merchant_id = $1 AND (charge_id = $2 OR payment_intent_id = $3)
ORDER BY charge_id = $2 DESC NULLS LAST, charge_id
LIMIT 1
FOR UPDATE
"""

FACTS = """
UPDATE money_back
SET booked = true
WHERE merchant_id = $1 AND (charge_id = $2 OR payment_intent_id = $3)
RETURNING kind, external_id, charge_id, payment_intent_id, amount, returned, currency, moved_at, returned_at
"""

SAVE = """
UPDATE recovered_charges
SET refunded = $3, disputed = $4, won_back = $5
WHERE merchant_id = $1 AND charge_id = $2
"""


@dataclass(frozen=True, slots=True)
class BookedCharge:
    """A charge that was booked as recovered, and what of it is in the book as taken back."""

    id: ChargeId
    payment_intent_id: PaymentIntentId | None
    recovery_id: RecoveryId
    booked: Money
    sums: Sums


async def lock_names(
    db: Connection, merchant_id: MerchantId, charges: Sequence[ChargeId | PaymentIntentId | None]
) -> None:
    """Lock these names of charges until the commit, in one order."""
    names = sorted({name for name in charges if name is not None})
    await db.fetch(LOCK_NAMES, merchant_id, names)


async def lock_names_of(db: Connection, merchant_id: MerchantId, charges: Sequence[MovedMoney]) -> None:
    """Lock all names of these charges until the commit, in one order."""
    if charges:
        names = [name for each in charges for name in (each.charge_id, each.payment_intent_id)]
        await lock_names(db, merchant_id, names)


async def insert(
    db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, charges: Sequence[MovedMoney]
) -> list[BookedCharge]:
    """Keep that these charges are booked; those that were not before. Their names are locked."""
    if not charges:
        return []
    rows = await db.fetch(
        INSERT_CHARGES,
        merchant_id,
        recovery_id,
        [each.charge_id for each in charges],
        [each.payment_intent_id for each in charges],
        [each.amount.amount for each in charges],
        [each.amount.currency for each in charges],
        [each.at for each in charges],
    )
    return [_booked(row) for row in rows]


async def fail(db: Connection, recovery_id: RecoveryId, charges: Sequence[ChargeId]) -> None:
    """Note that these charges of the recovery failed after they had succeeded: they count as booked no longer."""
    await db.execute(FAIL, recovery_id, charges)


async def of_recovery(db: Connection, recovery_id: RecoveryId) -> list[MovedMoney]:
    """The charges whose money is booked as recovered."""
    return [
        MovedMoney(row["charge_id"], row["payment_intent_id"], Money(row["amount"], row["currency"]), row["charged_at"])
        for row in await db.fetch(OF_RECOVERY, recovery_id)
    ]


async def note(db: Connection, merchant_id: MerchantId, fact: Fact) -> None:
    """Keep what was said, if it is new. The charge's names are locked."""
    await db.execute(
        NOTE,
        merchant_id,
        fact.kind,
        fact.external_id,
        fact.charge_id,
        fact.payment_intent_id,
        fact.taken.amount,
        fact.returned,
        fact.taken.currency,
        fact.moved_at,
        fact.returned_at,
    )


async def lock_charge(
    db: Connection, merchant_id: MerchantId, charge_id: ChargeId | None, payment_intent_id: PaymentIntentId | None
) -> BookedCharge | None:
    """The booked charge with one of these names, locked; None when none was booked as recovered."""
    row = await db.fetchrow(LOCK_CHARGE, merchant_id, charge_id, payment_intent_id)
    return None if row is None else _booked(row)


def _booked(row: Record) -> BookedCharge:
    sums = Sums(row["refunded"], row["disputed"], row["won_back"])
    booked = Money(row["amount"], row["currency"])
    return BookedCharge(row["charge_id"], row["payment_intent_id"], row["recovery_id"], booked, sums)


async def facts_of(db: Connection, merchant_id: MerchantId, charge: BookedCharge) -> list[Fact]:
    """All that was said of a booked charge, in the order in which the money moved."""
    rows = await db.fetch(FACTS, merchant_id, charge.id, charge.payment_intent_id)
    facts = [
        Fact(
            Kind(row["kind"]),
            row["external_id"],
            row["charge_id"],
            row["payment_intent_id"],
            Money(row["amount"], row["currency"]),
            row["moved_at"],
            row["returned"],
            row["returned_at"],
        )
        for row in rows
    ]
    return sorted(facts, key=lambda fact: (fact.moved_at, fact.kind, fact.external_id))


async def save(db: Connection, merchant_id: MerchantId, charge: BookedCharge, sums: Sums) -> None:
    """Remember what of the charge is in the book now."""
    await db.execute(SAVE, merchant_id, charge.id, sums.refunded, sums.disputed, sums.won_back)
