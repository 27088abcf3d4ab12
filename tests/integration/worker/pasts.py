"""Recoveries of the past, written as their rows would stand there: for what is learned from them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.worker.recovery.timezones import zone_of
from shared.ids import MerchantId
from tests.world import World

_numbers = itertools.count(1)

OPEN = """
INSERT INTO recoveries (merchant_id, invoice_id, amount_due, currency, policy_id, opened_at)
SELECT $1, $2, $4, 'usd', id, $3 FROM policies LIMIT 1
RETURNING id
"""
TRY = """
INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, result, amount, currency,
    payment_method_id, card_fingerprint, card_network, card_country, card_funding, decline_code, started_at,
    finished_at)
VALUES ($1, $2, $3, $4, CASE WHEN $3 = 'citadel' THEN $5 END, $6, $15, 'usd', $7, $8, $9, $10, $11, $12, $13, $14)
"""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt: when it was made, and what came. By default Stripe's, declined for missing funds."""

    at: datetime
    result: str = "declined"
    origin: str = "citadel"
    code: str = "insufficient_funds"
    method: str | None = "pm_1"
    fingerprint: str | None = "fp_1"
    network: str | None = "visa"
    country: str | None = "DE"
    funding: str | None = "debit"
    amount: int = 100
    takes: timedelta = field(default=timedelta(0))


async def write(world: World, merchant_id: MerchantId, tries: Sequence[Try]) -> UUID:
    """A recovery with these attempts, which was opened at the first."""
    async with world.database.transaction() as db:
        await db.execute("SET LOCAL session_replication_role = replica")
        return await _write(db, merchant_id, tries)


async def write_paid_on(
    world: World,
    merchant_id: MerchantId,
    count: int,
    day: int,
    now: datetime,
    *,
    country: str = "DE",
    funding: str | None = "debit",
    amounts: Sequence[int] = (100,),
) -> None:
    """So many recoveries of customers who are paid on this day of the month, tried daily until the money is there; of
    these amounts in turn."""
    async with world.database.transaction() as db:
        await db.execute("SET LOCAL session_replication_role = replica")
        for number in range(count):
            failed = now - timedelta(days=25 + number * 90 / count, hours=(number * 7) % 24)
            amount = amounts[number % len(amounts)]
            tries = [Try(failed, origin="stripe", country=country, funding=funding, amount=amount)]
            for later in range(1, 24):
                at = failed + timedelta(days=later, hours=(number * 5 + later * 3) % 11)
                there = at.day == day and at.hour >= 6
                said = "succeeded" if there else "declined"
                tries.append(Try(at, said, country=country, funding=funding, amount=amount))
                if there:
                    break
            await _write(db, merchant_id, tries)


async def _write(db: Any, merchant_id: MerchantId, tries: Sequence[Try]) -> UUID:
    recovery_id: UUID = await db.fetchval(OPEN, merchant_id, f"in_past_{next(_numbers)}", tries[0].at, tries[0].amount)
    for number, each in enumerate(tries, 1):
        await db.execute(
            TRY,
            recovery_id,
            merchant_id,
            each.origin,
            number,
            f"{recovery_id}:{number}",
            each.result,
            each.method,
            each.fingerprint,
            each.network,
            each.country,
            each.funding,
            each.code if each.result == "declined" else None,
            each.at,
            None if each.result == "processing" else each.at + each.takes,
            each.amount,
        )
    return recovery_id


# --- Messages ---------------------------------------------------------------------------------------------------------

MESSAGE = """
INSERT INTO recovery_timeline (recovery_id, merchant_id, at, kind, rule, explanation, detail)
VALUES ($1, $2, $3, $4, 'message_due', '', jsonb_build_object('kind', $5::text))
"""
PAID = """
UPDATE recoveries SET state = 'recovered', recovered_by = $2, end_reason = 'paid_by_' || $2, closed_at = $3
WHERE id = $1
"""
CHARGED = """
INSERT INTO recovered_charges (merchant_id, charge_id, recovery_id, amount, currency, charged_at)
VALUES ($1, 'ch_' || $2::uuid, $2, 100, 'usd', $3)
"""
COUNTRY = "UPDATE recoveries SET segment_facts = jsonb_build_object('country', $2::text) WHERE id = $1"


async def write_messages(
    world: World,
    merchant_id: MerchantId,
    messages: Sequence[datetime],
    *,
    paid: datetime | None = None,
    kind: str = "payment_failed",
    entry: str = "messaged",
    country: str | None = "DE",
) -> UUID:
    """A recovery that was opened with the first of these messages; `paid`: on the hosted page, at that time."""
    async with world.database.transaction() as db:
        await db.execute("SET LOCAL session_replication_role = replica")
        return await _write_messages(db, merchant_id, messages, paid, kind, entry, country)


async def write_answered_at(
    world: World, merchant_id: MerchantId, count: int, hours: Sequence[int], now: datetime, *, country: str = "DE"
) -> None:
    """So many recoveries with one message, at all hours of the day in turn; half of those in these local hours are paid
    two hours later, and one in twenty of the others."""
    async with world.database.transaction() as db:
        await db.execute("SET LOCAL session_replication_role = replica")
        for number in range(count):
            at = (now - timedelta(days=10 + number % 50)).replace(hour=number % 24, minute=30)
            local = at.astimezone(zone_of(country)).hour
            pays = number // 24 % 2 == 0 if local in hours else number // 24 % 20 == 0
            paid = at + timedelta(hours=2) if pays else None
            await _write_messages(db, merchant_id, [at], paid, "payment_failed", "messaged", country)


async def _write_messages(
    db: Any,
    merchant_id: MerchantId,
    messages: Sequence[datetime],
    paid: datetime | None,
    kind: str,
    entry: str,
    country: str | None,
) -> UUID:
    recovery_id: UUID = await db.fetchval(OPEN, merchant_id, f"in_past_{next(_numbers)}", messages[0], 100)
    await db.execute(COUNTRY, recovery_id, country)
    for at in messages:
        await db.execute(MESSAGE, recovery_id, merchant_id, at, entry, kind)
    if paid is not None:
        await db.execute(PAID, recovery_id, "message", paid + timedelta(days=1))  # the news of it came late
        await db.execute(CHARGED, merchant_id, recovery_id, paid)
    return recovery_id
