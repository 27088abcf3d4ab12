"""Recoveries of the past, written as their rows would stand there: for what is learned from them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.ids import MerchantId
from tests.world import World

_numbers = itertools.count(1)

OPEN = """
INSERT INTO recoveries (merchant_id, invoice_id, amount_due, currency, policy_id, opened_at)
SELECT $1, $2, 100, 'usd', id, $3 FROM policies LIMIT 1
RETURNING id
"""
TRY = """
INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, result, amount, currency,
    payment_method_id, card_fingerprint, card_network, card_country, card_funding, decline_code, started_at,
    finished_at)
VALUES ($1, $2, $3, $4, CASE WHEN $3 = 'citadel' THEN $5 END, $6, 100, 'usd', $7, $8, $9, $10, $11, $12, $13, $14)
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
    takes: timedelta = field(default=timedelta(0))


async def write(world: World, merchant_id: MerchantId, tries: Sequence[Try]) -> UUID:
    """A recovery with these attempts, which was opened at the first."""
    async with world.database.transaction() as db:
        await db.execute("SET LOCAL session_replication_role = replica")
        return await _write(db, merchant_id, tries)


async def write_paid_on(
    world: World, merchant_id: MerchantId, count: int, day: int, now: datetime, *, country: str = "DE"
) -> None:
    """So many recoveries of customers who are paid on this day of the month, tried daily until the money is there."""
    async with world.database.transaction() as db:
        await db.execute("SET LOCAL session_replication_role = replica")
        for number in range(count):
            failed = now - timedelta(days=25 + number * 90 / count, hours=(number * 7) % 24)
            tries = [Try(failed, origin="stripe", country=country)]
            for later in range(1, 24):
                at = failed + timedelta(days=later, hours=(number * 5 + later * 3) % 11)
                there = at.day == day and at.hour >= 6
                tries.append(Try(at, "succeeded" if there else "declined", country=country))
                if there:
                    break
            await _write(db, merchant_id, tries)


async def _write(db: Any, merchant_id: MerchantId, tries: Sequence[Try]) -> UUID:
    recovery_id: UUID = await db.fetchval(OPEN, merchant_id, f"in_past_{next(_numbers)}", tries[0].at)
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
        )
    return recovery_id
