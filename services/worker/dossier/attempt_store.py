"""The SQL of a recovery's attempts: each is one row, written before the call and settled after it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.worker.dossier.dossier import Dossier, KnownAttempt
from services.worker.outside.invoices import SeenCharge
from services.worker.recovery import AttemptResult, Card, Decline, Origin, PastAttempt
from services.worker.recovery.outcomes import Tried
from shared.database import Connection
from shared.ids import ChargeId, PaymentIntentId, PaymentMethodId
from shared.money import Money

COLUMNS = (
    "id",
    "number",
    "origin",
    "result",
    "amount",
    "currency",
    "idempotency_key",
    "payment_method_id",
    "card_fingerprint",
    "payment_intent_id",
    "charge_id",
    "error_code",
    "decline_code",
    "advice_code",
    "network_decline_code",
    "network_advice_code",
    "started_at",
    "finished_at",
    "card_exp_month",
    "card_exp_year",
)

# A card's answer is known within this time; a debit's comes days later.
AT_ONCE = timedelta(hours=12)

START_ATTEMPT = """
INSERT INTO attempts
    (recovery_id, merchant_id, origin, number, idempotency_key, amount, currency, payment_method_id, card_fingerprint,
     predicted_chance, after_cause)
VALUES ($1, $2, 'citadel', $3, $4, $5, $6, $7, $8, $9, $10)
RETURNING id, started_at
"""

# A charge has one row: one that belongs to another attempt is not taken again, or no commit would ever succeed.
SETTLE_ATTEMPT = """
UPDATE attempts AS a
SET result = $2,
    amount = $3,
    payment_method_id = COALESCE($4, payment_method_id),  -- without an answer: what it was planned for
    card_fingerprint = COALESCE($5, card_fingerprint),
    card_network = $6,
    card_country = $7,
    card_exp_month = $15,
    card_exp_year = $16,
    card_funding = $17,
    payment_intent_id = $8,
    charge_id = CASE
        WHEN NOT EXISTS (
            SELECT FROM attempts AS o WHERE o.recovery_id = a.recovery_id AND o.charge_id = $9 AND o.id <> a.id
        ) THEN $9
    END,
    error_code = $10,
    decline_code = $11,
    advice_code = $12,
    network_decline_code = $13,
    network_advice_code = $14,
    finished_at = CASE WHEN $2 <> 'processing' THEN citadel_now() END
WHERE id = $1 AND result IN ('started', 'unknown')
RETURNING id
"""

# The end of a debit that was under way.
END_DEBIT = """
UPDATE attempts
SET result = $2,
    amount = $3,
    error_code = $4,
    decline_code = $5,
    advice_code = $6,
    network_decline_code = $7,
    network_advice_code = $8,
    finished_at = citadel_now()
WHERE id = $1 AND result = 'processing'
RETURNING id
"""

# A charge is seen at every reading, and has one row.
NOTE_ATTEMPT = """
INSERT INTO attempts (
    recovery_id, merchant_id, origin, number, result, amount, currency, payment_method_id, card_fingerprint,
    card_network, card_country, payment_intent_id, charge_id, error_code, decline_code, advice_code,
    network_decline_code, network_advice_code, started_at, finished_at, card_exp_month, card_exp_year, card_funding)
SELECT $1, $2, 'stripe', COALESCE(max(number), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
    $17, $18, $19, $20, $21
FROM attempts
WHERE recovery_id = $1 AND origin = 'stripe'
ON CONFLICT (recovery_id, charge_id) WHERE charge_id IS NOT NULL DO NOTHING
RETURNING id
"""

# What recoveries are learned from: their attempts, with the answers that were known by $1, so that a repeat reads what
# the first run has read. `{recoveries}` gives each one's id, merchant and place.
ATTEMPTS_OF = """
SELECT a.merchant_id, a.recovery_id, a.started_at, a.result, a.payment_method_id, a.card_fingerprint,
    a.card_network, a.card_country, a.card_funding, a.amount, a.currency, a.error_code, a.decline_code, a.advice_code,
    a.network_decline_code, a.network_advice_code
FROM ({recoveries}) AS r
JOIN attempts AS a ON a.recovery_id = r.id AND a.merchant_id = r.merchant_id
WHERE a.result IN ('declined', 'succeeded', 'requires_action', 'processing')
    AND COALESCE(a.finished_at, a.started_at) <= $1
ORDER BY r.place, r.id, a.started_at, a.origin DESC, a.number
"""

# A recovery may say something if a bank has answered twice. Only so many of the latest are looked through for those.
MAY_TEACH = """(
    SELECT count(*) FROM attempts AS a
    WHERE a.recovery_id = r.id AND a.merchant_id = r.merchant_id AND a.result IN ('declined', 'succeeded')
) >= 2"""


async def start_attempt(db: Connection, dossier: Dossier) -> KnownAttempt:
    """Insert our next attempt, with its key, its payment method and its card, so that other recoveries on that card
    count it; and with the chance that its plan predicted, which is thus written before anybody knows how it ends.

    At most one attempt is in flight; a second one raises.
    """
    method, card, predicted = dossier.next_method, dossier.next_fingerprint, dossier.next_prediction
    number, key = dossier.next_number, f"{dossier.recovery_id}:{dossier.next_number}"
    row = await db.fetchrow(
        START_ATTEMPT,
        dossier.recovery_id,
        dossier.merchant_id,
        number,
        key,
        dossier.due.amount,
        dossier.due.currency,
        method,
        card,
        predicted.chance if predicted else None,
        predicted.after_cause if predicted else None,
    )
    if row is None:
        raise LookupError(f"attempt {key} was not written")
    past = PastAttempt(number, Origin.CITADEL, AttemptResult.STARTED, row["started_at"], method, card, dossier.due)
    return KnownAttempt(row["id"], key, past, None, None)


async def settle_attempt(
    db: Connection,
    attempt_id: UUID,
    result: AttemptResult,
    amount: Money,
    *,
    payment_method_id: PaymentMethodId | None = None,
    card: Card | None = None,
    payment_intent_id: PaymentIntentId | None = None,
    charge_id: ChargeId | None = None,
    error_code: str | None = None,
    decline: Decline | None = None,
) -> bool:
    """Save how our attempt ended. False: it was settled before."""
    known, said = card or Card(), decline or Decline()
    return (
        await db.fetchval(
            SETTLE_ATTEMPT,
            attempt_id,
            result,
            amount.amount,
            payment_method_id,
            known.fingerprint,
            known.network,
            known.country,
            payment_intent_id,
            charge_id,
            error_code or said.code,
            said.decline_code,
            said.advice_code,
            said.network_decline_code,
            said.network_advice_code,
            known.exp_month,
            known.exp_year,
            known.funding,
        )
        is not None
    )


async def end_debit(
    db: Connection, attempt_id: UUID, result: AttemptResult, amount: Money, decline: Decline | None
) -> bool:
    """Save how a debit of ours ended, on its attempt's row. False: it was not under way."""
    said = decline or Decline()
    ended = await db.fetchval(
        END_DEBIT,
        attempt_id,
        result,
        amount.amount,
        said.code,
        said.decline_code,
        said.advice_code,
        said.network_decline_code,
        said.network_advice_code,
    )
    return ended is not None


async def note_attempt(db: Connection, dossier: Dossier, seen: SeenCharge) -> bool:
    """Insert an attempt that was not ours. False: it was known."""
    card, said = seen.card or Card(), seen.decline or Decline()
    return (
        await db.fetchval(
            NOTE_ATTEMPT,
            dossier.recovery_id,
            dossier.merchant_id,
            seen.result,
            seen.amount.amount,
            seen.amount.currency,
            seen.payment_method_id,
            card.fingerprint,
            card.network,
            card.country,
            seen.payment_intent_id,
            seen.charge_id,
            said.code,
            said.decline_code,
            said.advice_code,
            said.network_decline_code,
            said.network_advice_code,
            dossier.counted_at(seen),
            dossier.answered_at(seen),
            card.exp_month,
            card.exp_year,
            card.funding,
        )
        is not None
    )


def known_attempt(values: Sequence[Any]) -> KnownAttempt:
    """An attempt's row, as the values of `COLUMNS` without their names."""
    row = dict(zip(COLUMNS, values, strict=True))
    result = AttemptResult(row["result"])
    said = decline_of(row)
    past = PastAttempt(
        number=row["number"],
        origin=Origin(row["origin"]),
        result=result,
        at=row["started_at"],
        payment_method_id=row["payment_method_id"],
        card_fingerprint=row["card_fingerprint"],
        amount=Money(row["amount"], row["currency"]),
        decline=said if result is AttemptResult.DECLINED else None,
        error_code=row["error_code"] if result is AttemptResult.FAILED else None,
        answered_at=_answered(row),
        exp_month=row["card_exp_month"],
        exp_year=row["card_exp_year"],
    )
    return KnownAttempt(row["id"], row["idempotency_key"], past, row["charge_id"], row["payment_intent_id"])


def _answered(row: Mapping[str, Any]) -> datetime | None:
    """When the answer was known, where that was not at once."""
    ended = row["finished_at"]
    return ended if ended is not None and ended - row["started_at"] > AT_ONCE else None


def decline_of(row: Mapping[str, Any]) -> Decline:
    """The codes of a decline, of a row that has them."""
    return Decline(
        row["error_code"],
        row["decline_code"],
        row["advice_code"],
        row["network_decline_code"],
        row["network_advice_code"],
    )


def tried_of(row: asyncpg.Record) -> Tried:
    """A row of `ATTEMPTS_OF`."""
    return Tried(
        row["merchant_id"],
        row["recovery_id"],
        row["started_at"],
        AttemptResult(row["result"]),
        row["payment_method_id"],
        row["card_fingerprint"],
        row["card_network"],
        row["card_country"],
        row["card_funding"],
        Money(row["amount"], row["currency"]),
        decline_of(dict(row)),
    )
