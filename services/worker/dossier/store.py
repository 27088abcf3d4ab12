"""The SQL that the handlers need of a recovery. Changes of its state go through `shared.recoveries`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from services.worker.dossier.dossier import NEWS, Dossier, KnownAttempt, Story, Told, cards_of, method_in
from services.worker.merchants import merchant_key
from services.worker.outside.invoices import Reading, SeenCharge
from services.worker.recovery import (
    BY_THE_RULES,
    AttemptResult,
    Card,
    Decline,
    FirstDefault,
    Origin,
    PastAttempt,
    Policy,
    Timing,
    classify,
)
from services.worker.recovery.estimator import Estimator, Observed
from services.worker.recovery.timezones import zone_of
from shared.database import Connection
from shared.ids import ChargeId, MerchantId, PaymentIntentId, PaymentMethodId, RecoveryId
from shared.money import Money
from shared.recovery_model import EndReason, RecoveredBy, RecoveryState

_ATTEMPT = (
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

# One statement, because each costs a round trip. An earlier statement locked the recovery, so everything is read as it
# is under the lock. Attempts for other invoices are read too, because the networks count by card.
READ_DOSSIER = """
SELECT r.invoice_id, r.state, r.stop_requested, r.amount_due, r.currency, r.opened_at, r.next_attempt_at,
    r.customer_id, r.subscription_id, r.cards, r.next_method, r.next_fingerprint, r.brought, r.first_default,
    r.window_until, r.end_reason, r.recovered_by, r.paid_before, r.stripe_attempts, p.document AS policy,
    citadel_now() AS now,
    m.stripe_connect_id AS account, COALESCE(m.status = 'active', false) AS merchant_active,
    ARRAY(
        SELECT ROW (t.id, t.at, t.kind, t.rule, t.next_at, t.detail::text)  -- jsonb has no codec inside a row
        FROM recovery_timeline AS t
        WHERE t.recovery_id = r.id
        ORDER BY t.id
    ) AS story,
    ARRAY(
        SELECT ROW (<attempt>)
        FROM attempts AS a
        WHERE a.recovery_id = r.id
        ORDER BY a.started_at, a.origin, a.number
    ) AS attempts,
    ARRAY(
        SELECT ROW (<attempt>)
        FROM attempts AS a
        WHERE a.merchant_id = r.merchant_id
            AND a.card_fingerprint = ANY(r.cards || $4::text[] || ARRAY(
                SELECT tried.card_fingerprint
                FROM attempts AS tried
                WHERE tried.recovery_id = r.id AND tried.card_fingerprint IS NOT NULL
            ))
            AND a.recovery_id <> r.id
            AND a.started_at > citadel_now() - interval '40 days'
    ) AS elsewhere,
    ARRAY(
        SELECT l.until FROM left_alone AS l
        WHERE l.merchant_id = r.merchant_id AND l.customer_id = r.customer_id
            AND (l.until IS NULL OR l.until > citadel_now())
        UNION ALL
        SELECT l.until FROM left_alone AS l
        WHERE l.merchant_id = r.merchant_id AND l.subscription_id = r.subscription_id
            AND (l.until IS NULL OR l.until > citadel_now())
    ) AS left_alone,
    -- While a subscription is paused no new invoice of it fails: a pause that is older than the recovery was lifted.
    EXISTS (
        SELECT
        FROM recoveries AS o
        JOIN recovery_timeline AS e ON e.recovery_id = o.id
        WHERE o.merchant_id = r.merchant_id AND o.subscription_id = r.subscription_id AND o.id <> r.id
            AND e.kind = 'end_action' AND e.rule = 'end_action_done' AND e.detail ->> 'action' = 'pause'
            AND e.at >= r.opened_at
    ) AS paused_by_us
FROM recoveries AS r
JOIN policies AS p ON p.id = r.policy_id
LEFT JOIN merchants AS m ON m.id = $3
WHERE r.id = $1 AND r.merchant_id = $2
""".replace("<attempt>", ", ".join(f"a.{name}" for name in _ATTEMPT))

# Two recoveries on one card must see each other's attempts: whoever starts one waits until the other's row is there.
LOCK_CARD = "SELECT pg_advisory_xact_lock(hashtextextended('card/' || $1 || '/' || $2, 0))"

REMEMBER = """
UPDATE recoveries
SET cards = $2, next_method = $3, next_fingerprint = $4, holdout = $5, segment_facts = $6,
    first_default = COALESCE(first_default, $7)
WHERE id = $1
    AND (cards, next_method, next_fingerprint, holdout, segment_facts, first_default)
        IS DISTINCT FROM ($2, $3, $4, $5, $6, COALESCE(first_default, $7))
"""

LENGTHEN = "UPDATE recoveries SET window_until = $2, updated_at = citadel_now() WHERE id = $1"

# The merchant's own retries, for learned timing: how each ended, and after which decline. Newest first, limited.
READ_RETRIES = """
SELECT a.started_at, a.result = 'succeeded' AS succeeded, a.card_country,
    p.error_code, p.decline_code, p.advice_code, p.network_decline_code, p.network_advice_code
FROM (
    SELECT recovery_id, started_at, result, card_country
    FROM attempts
    WHERE merchant_id = $1 AND origin = 'citadel' AND result IN ('succeeded', 'declined')
    ORDER BY started_at DESC
    LIMIT 2000
) AS a
CROSS JOIN LATERAL (
    SELECT error_code, decline_code, advice_code, network_decline_code, network_advice_code
    FROM attempts
    WHERE recovery_id = a.recovery_id AND started_at < a.started_at AND result = 'declined'
    ORDER BY started_at DESC
    LIMIT 1
) AS p
"""

# Asked before every payment and message: by the key of `merchants`, whose ids a task holds as any text.
REFUSAL = """
SELECT COALESCE(
    r.stop_requested,
    r.end_reason,
    CASE WHEN m.status IS DISTINCT FROM 'active' THEN 'merchant_gone' END,
    CASE WHEN EXISTS (
        SELECT FROM left_alone AS l
        WHERE l.merchant_id = r.merchant_id AND l.customer_id = r.customer_id
            AND (l.until IS NULL OR l.until > citadel_now())
    ) OR EXISTS (
        SELECT FROM left_alone AS l
        WHERE l.merchant_id = r.merchant_id AND l.subscription_id = r.subscription_id
            AND (l.until IS NULL OR l.until > citadel_now())
    ) THEN 'left_alone' END,
    CASE WHEN (
        SELECT t.rule FROM recovery_timeline AS t
        WHERE t.recovery_id = r.id AND t.rule IN ('collection_turned_off', 'collection_turned_on')
        ORDER BY t.id DESC
        LIMIT 1
    ) = 'collection_turned_off' THEN 'collection_turned_off' END,
    CASE WHEN EXISTS (
        SELECT FROM recovery_timeline AS t
        WHERE t.recovery_id = r.id AND t.id > $2 AND t.rule = ANY($3::text[])
    ) THEN 'news' END
)
FROM recoveries AS r
LEFT JOIN merchants AS m
    ON m.id = CASE WHEN r.merchant_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN r.merchant_id::uuid END
WHERE r.id = $1
"""

START_ATTEMPT = """
INSERT INTO attempts
    (recovery_id, merchant_id, origin, number, idempotency_key, amount, currency, payment_method_id, card_fingerprint)
VALUES ($1, $2, 'citadel', $3, $4, $5, $6, $7, $8)
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

REMEMBER_STRIPES = """
UPDATE recoveries SET stripe_attempts = $2 WHERE id = $1 AND stripe_attempts IS DISTINCT FROM $2
"""

# A charge is seen at every reading, and has one row.
NOTE_ATTEMPT = """
INSERT INTO attempts (
    recovery_id, merchant_id, origin, number, result, amount, currency, payment_method_id, card_fingerprint,
    card_network, card_country, payment_intent_id, charge_id, error_code, decline_code, advice_code,
    network_decline_code, network_advice_code, started_at, finished_at, card_exp_month, card_exp_year)
SELECT $1, $2, 'stripe', COALESCE(max(number), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
    $17, $18, $19, $20
FROM attempts
WHERE recovery_id = $1 AND origin = 'stripe'
ON CONFLICT (recovery_id, charge_id) WHERE charge_id IS NOT NULL DO NOTHING
RETURNING id
"""


async def open_dossier(
    db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, cards: Sequence[str] = ()
) -> Dossier | None:
    """The dossier of a recovery, which the engine has locked; None when there is no such recovery.

    Attempts for other invoices are read on `cards`, on the remembered cards, and on those that were tried before.
    """
    row = await db.fetchrow(READ_DOSSIER, recovery_id, merchant_id, merchant_key(merchant_id), list(cards))
    if row is None:
        return None
    attempts = [_attempt(_named(each)) for each in row["attempts"]]
    tried = (each.past.card_fingerprint for each in attempts if each.past.card_fingerprint)
    pinned = Policy.model_validate(row["policy"])
    return Dossier(
        recovery_id=recovery_id,
        merchant_id=merchant_id,
        account=row["account"],
        merchant_active=row["merchant_active"],
        invoice_id=row["invoice_id"],
        customer_id=row["customer_id"],
        subscription_id=row["subscription_id"],
        state=RecoveryState(row["state"]),
        stop_requested=EndReason(row["stop_requested"]) if row["stop_requested"] else None,
        due=Money(row["amount_due"], row["currency"]),
        opened_at=row["opened_at"],
        next_attempt_at=row["next_attempt_at"],
        pinned=pinned,
        cards=tuple(dict.fromkeys((*row["cards"], *cards, *tried))),
        next_method=row["next_method"],
        next_fingerprint=row["next_fingerprint"],
        brought=frozenset(row["brought"]),
        first_default=_first_default(row["first_default"]),
        attempts=tuple(attempts),
        elsewhere=tuple(_attempt(_named(each)).past for each in row["elsewhere"]),
        story=Story(tuple(_told(*each) for each in row["story"])),
        now=row["now"],
        window_until=row["window_until"],
        timing=await _timing(db, merchant_id) if pinned.timing == "learned" else BY_THE_RULES,
        end_reason=EndReason(row["end_reason"]) if row["end_reason"] else None,
        recovered_by=RecoveredBy(row["recovered_by"]) if row["recovered_by"] else None,
        paid_before=row["paid_before"],
        stripe_attempts=row["stripe_attempts"],
        left_alone=tuple(row["left_alone"]),
        paused_by_us=row["paused_by_us"],
    )


async def _timing(db: Connection, merchant_id: MerchantId) -> Timing:
    """The timing that was learned from the merchant's last retries."""
    rows = await db.fetch(READ_RETRIES, merchant_id)
    observed = (
        Observed(
            classify(_decline(dict(row))).cause,
            row["started_at"].astimezone(zone_of(row["card_country"])),
            row["succeeded"],
        )
        for row in rows
    )
    return Estimator.learn(observed)


async def refusal(db: Connection, recovery_id: RecoveryId, last_id: int) -> str | None:
    """Why nothing may be sent for the recovery any more, by what is committed; None when it may.

    `last_id` is the timeline's last row when it was decided: `news` that came later are to be looked at first.
    """
    found: str | None = await db.fetchval(REFUSAL, recovery_id, last_id, sorted(NEWS))
    return found


async def lock_card(db: Connection, dossier: Dossier) -> None:
    """Lock the card that is to be charged: one attempt of the merchant at a time is started on it."""
    card = dossier.next_fingerprint or dossier.next_method
    if card is not None:
        await db.execute(LOCK_CARD, dossier.merchant_id, card)


async def remember(db: Connection, dossier: Dossier, reading: Reading, *, next_method: PaymentMethodId | None) -> None:
    """Keep which payment method is charged next, which cards may be, the customer's first default, and what segments
    ask."""
    truth = reading.truth
    planned = method_in(reading, next_method) if next_method is not None else None
    facts = {
        "amount": truth.amount_remaining.amount,
        "products": sorted(truth.products),
        "prices": sorted(truth.prices),
        "country": truth.card.country.upper() if truth.card and truth.card.country else None,
        "subscribed_at": truth.subscribed_at.isoformat() if truth.subscribed_at else None,
    }
    await db.execute(
        REMEMBER,
        dossier.recovery_id,
        list(cards_of(reading)),
        next_method,
        planned.fingerprint if planned else None,
        dossier.in_holdout,
        facts,
        truth.customers_default.payment_method_id if truth.customers_default else "",
    )


def _first_default(kept: str | None) -> FirstDefault | None:
    return None if kept is None else FirstDefault(PaymentMethodId(kept) if kept else None)


async def lengthen_window(db: Connection, dossier: Dossier, until: datetime) -> None:
    """Save a later end of the recovery's window."""
    await db.execute(LENGTHEN, dossier.recovery_id, until)


async def start_attempt(db: Connection, dossier: Dossier) -> KnownAttempt:
    """Insert our next attempt, with its key, its payment method and its card, so that other recoveries on that card
    count it.

    At most one attempt is in flight; a second one raises.
    """
    method, card = dossier.next_method, dossier.next_fingerprint
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


async def remember_stripes_attempts(db: Connection, dossier: Dossier, reading: Reading) -> None:
    """Keep how often Stripe has tried by itself."""
    if reading.stripe_attempts is not None:
        await db.execute(REMEMBER_STRIPES, dossier.recovery_id, reading.stripe_attempts)


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
        )
        is not None
    )


def _named(values: Sequence[Any]) -> Mapping[str, Any]:
    """An attempt's row with the names of its columns, which the statement does not give."""
    return dict(zip(_ATTEMPT, values, strict=True))


def _attempt(row: Mapping[str, Any]) -> KnownAttempt:
    result = AttemptResult(row["result"])
    said = _decline(row)
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


def _decline(row: Mapping[str, Any]) -> Decline:
    return Decline(
        row["error_code"],
        row["decline_code"],
        row["advice_code"],
        row["network_decline_code"],
        row["network_advice_code"],
    )


def _told(row_id: int, at: datetime, kind: str, rule: str, next_at: datetime | None, detail: str) -> Told:
    return Told(row_id, at, kind, rule, next_at, orjson.loads(detail))
