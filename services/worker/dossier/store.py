"""The SQL that the handlers need of a recovery. Changes of its state go through `shared.recoveries`."""

from collections.abc import Sequence
from datetime import datetime

import orjson

from services.worker.dossier.attempt_store import COLUMNS, decline_of, known_attempt
from services.worker.dossier.dossier import Dossier, cards_of, method_in
from services.worker.dossier.learned import answers_of, earlier_of, learned_of
from services.worker.dossier.story import NEWS, UNREAD_NEWS, Story, Told
from services.worker.merchants import merchant_key
from services.worker.outside.invoices import Reading
from services.worker.recovery import (
    BY_THE_RULES,
    AttemptNow,
    DeclineCause,
    FirstDefault,
    Policy,
    Prediction,
    Timing,
    classify,
)
from services.worker.recovery.estimator import Estimator, Observed
from services.worker.recovery.message_answers import NOTHING_LEARNED
from services.worker.recovery.timezones import zone_of
from shared.database import Connection
from shared.ids import CustomerId, MerchantId, PaymentMethodId, RecoveryId
from shared.money import Money
from shared.recovery_model import EndReason, RecoveredBy, RecoveryState

# One statement, because each costs a round trip. An earlier statement locked the recovery, so everything is read as it
# is under the lock. Attempts for other invoices are read too, because the networks count by card.
READ_DOSSIER = """
SELECT r.invoice_id, r.state, r.stop_requested, r.amount_due, r.currency, r.opened_at, r.next_attempt_at,
    r.customer_id, r.subscription_id, r.cards, r.next_method, r.next_fingerprint, r.next_chance,
    r.next_after_cause, r.brought, r.first_default, r.window_until, r.end_reason, r.recovered_by, r.paid_before,
    r.stripe_attempts, r.segment_facts ->> 'country' AS country, p.document AS policy,
    citadel_now() AS now,
    m.stripe_connect_id AS account, COALESCE(m.status = 'active', false) AS merchant_active,
    ARRAY(
        -- jsonb has no codec inside a row
        SELECT ROW (t.id, t.at, t.kind, t.rule, t.next_at, t.detail::text, t.to_state)
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
""".replace("<attempt>", ", ".join(f"a.{name}" for name in COLUMNS))

# Two recoveries on one card must see each other's attempts: whoever starts one waits until the other's row is there.
LOCK_CARD = "SELECT pg_advisory_xact_lock(hashtextextended('card/' || $1 || '/' || $2, 0))"

REMEMBER = """
UPDATE recoveries
SET cards = $2, next_method = $3, next_fingerprint = $4, holdout = $5, segment_facts = $6,
    first_default = COALESCE(first_default, $7), next_chance = $8, next_after_cause = $9
WHERE id = $1
    AND (cards, next_method, next_fingerprint, holdout, segment_facts, first_default, next_chance, next_after_cause)
        IS DISTINCT FROM ($2, $3, $4, $5, $6, COALESCE(first_default, $7), $8, $9)
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
    ) THEN $4::text END
)
FROM recoveries AS r
LEFT JOIN merchants AS m
    ON m.id = CASE WHEN r.merchant_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN r.merchant_id::uuid END
WHERE r.id = $1
"""

REMEMBER_STRIPES = """
UPDATE recoveries SET stripe_attempts = $2 WHERE id = $1 AND stripe_attempts IS DISTINCT FROM $2
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
    attempts = [known_attempt(each) for each in row["attempts"]]
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
        elsewhere=tuple(known_attempt(each).past for each in row["elsewhere"]),
        story=Story(tuple(_told(*each) for each in row["story"])),
        now=row["now"],
        window_until=row["window_until"],
        timing=(
            await _timing(db, merchant_id, pinned, row["customer_id"], row["opened_at"])
            if pinned.timing == "learned"
            else BY_THE_RULES
        ),
        end_reason=EndReason(row["end_reason"]) if row["end_reason"] else None,
        recovered_by=RecoveredBy(row["recovered_by"]) if row["recovered_by"] else None,
        paid_before=row["paid_before"],
        stripe_attempts=row["stripe_attempts"],
        left_alone=tuple(row["left_alone"]),
        paused_by_us=row["paused_by_us"],
        next_prediction=_prediction(row["next_chance"], row["next_after_cause"]),
        country=row["country"],
    )


async def _timing(
    db: Connection, merchant_id: MerchantId, policy: Policy, customer_id: CustomerId | None, opened_at: datetime
) -> Timing:
    """The timing that was learned: what is believed of the merchant's customers and of this one, for schedules of the
    kind `likeliest`; hours where there are none."""
    answers = await answers_of(db, merchant_id) if policy.writes_when_likeliest else NOTHING_LEARNED
    if policy.believes:
        learned = await learned_of(db, merchant_id)
        return Timing(None, learned, answers, await earlier_of(db, merchant_id, customer_id, opened_at))
    return Timing(hours=await _hours(db, merchant_id), answers=answers)


async def _hours(db: Connection, merchant_id: MerchantId) -> Estimator:
    """The hours that were learned from the merchant's last retries."""
    rows = await db.fetch(READ_RETRIES, merchant_id)
    observed = (
        Observed(
            classify(decline_of(dict(row))).cause,
            row["started_at"].astimezone(zone_of(row["card_country"])),
            row["succeeded"],
        )
        for row in rows
    )
    return Estimator.learn(observed)


async def refusal(db: Connection, recovery_id: RecoveryId, last_id: int) -> str | None:
    """Why nothing may be sent for the recovery any more, by what is committed; None when it may.

    `last_id` is the timeline's last row when it was decided; UNREAD_NEWS: an event came later.
    """
    found: str | None = await db.fetchval(REFUSAL, recovery_id, last_id, sorted(NEWS), UNREAD_NEWS)
    return found


async def lock_card(db: Connection, dossier: Dossier) -> None:
    """Lock the card that is to be charged: one attempt of the merchant at a time is started on it."""
    card = dossier.next_fingerprint or dossier.next_method
    if card is not None:
        await db.execute(LOCK_CARD, dossier.merchant_id, card)


async def remember(db: Connection, dossier: Dossier, reading: Reading, *, planned: AttemptNow | None) -> None:
    """Keep which payment method is charged next and how likely that is to succeed, which cards may be charged, the
    customer's first default, and what segments ask. `planned` is the decision at the time of the next attempt, None
    where none is planned."""
    truth = reading.truth
    method = planned.payment_method_id if planned is not None else None
    card = method_in(reading, method) if method is not None else None
    predicted = planned.prediction if planned is not None else None
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
        method,
        card.fingerprint if card else None,
        dossier.in_holdout,
        facts,
        truth.customers_default.payment_method_id if truth.customers_default else "",
        predicted.chance if predicted else None,
        predicted.after_cause if predicted else None,
    )


def _prediction(chance: float | None, after_cause: str | None) -> Prediction | None:
    return None if chance is None or after_cause is None else Prediction(chance, DeclineCause(after_cause))


def _first_default(kept: str | None) -> FirstDefault | None:
    return None if kept is None else FirstDefault(PaymentMethodId(kept) if kept else None)


async def lengthen_window(db: Connection, dossier: Dossier, until: datetime) -> None:
    """Save a later end of the recovery's window."""
    await db.execute(LENGTHEN, dossier.recovery_id, until)


async def remember_stripes_attempts(db: Connection, dossier: Dossier, reading: Reading) -> None:
    """Keep how often Stripe has tried by itself."""
    if reading.stripe_attempts is not None:
        await db.execute(REMEMBER_STRIPES, dossier.recovery_id, reading.stripe_attempts)


def _told(
    row_id: int, at: datetime, kind: str, rule: str, next_at: datetime | None, detail: str, to_state: str | None
) -> Told:
    state = None if to_state is None else RecoveryState(to_state)
    return Told(row_id, at, kind, rule, next_at, orjson.loads(detail), state)
