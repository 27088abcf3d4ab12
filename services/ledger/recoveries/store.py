"""The SQL of recoveries, as the API reads them."""

from collections.abc import Mapping
from typing import Any

from services.ledger.api.pagination import ById
from services.ledger.api.select import Row, Select, narrowed
from shared.database import Connection
from shared.ids import MerchantId, RecoveryId
from shared.recovery_model import ENDS, RecoveryState

# A task that died, and that no newer one of its type has replaced. One that somebody dismissed is not dead any more.
_IS_DEAD = """t.status = 'dead' AND NOT EXISTS (
            SELECT FROM scheduled_tasks AS n
            WHERE n.recovery_id = t.recovery_id AND n.task_type = t.task_type AND n.id > t.id
        )"""
_IS_HELD = "t.held_for IS NOT NULL AND t.status IN ('pending', 'running')"
_NEED_ATTENTION = f"""(
    SELECT t.recovery_id FROM scheduled_tasks AS t WHERE t.recovery_id IS NOT NULL AND {_IS_DEAD}
    UNION ALL
    SELECT t.recovery_id FROM scheduled_tasks AS t WHERE t.recovery_id IS NOT NULL AND {_IS_HELD}
)"""  # noqa: S608 - constants of this file

# What was taken back of a recovery `r`, by its charges; the condition is that of an index.
TAKEN_BACK = """CROSS JOIN LATERAL (
    SELECT
        COALESCE(sum(c.refunded), 0)::bigint AS refunded,
        COALESCE(sum(c.disputed), 0)::bigint AS disputed,
        COALESCE(sum(c.won_back), 0)::bigint AS won_back
    FROM recovered_charges AS c
    WHERE c.recovery_id = r.id AND (c.refunded <> 0 OR c.disputed <> 0)
) AS back"""

LIST_RECOVERIES = f"""
SELECT r.id, r.merchant_id, r.invoice_id, r.subscription_id, r.customer_id, r.state, r.end_reason, r.stop_requested,
    r.amount_due, r.currency, r.amount_recovered, back.refunded AS amount_refunded, back.disputed AS amount_disputed,
    back.won_back AS amount_won_back, r.recovered_by, r.decline_cause, r.policy_id, r.opened_at, r.next_attempt_at,
    r.closed_at, r.updated_at, COALESCE((
        SELECT t.task_type
        FROM scheduled_tasks AS t
        WHERE t.recovery_id = r.id AND {_IS_DEAD}
        ORDER BY t.id DESC
        LIMIT 1
    ), (
        SELECT t.held_for
        FROM scheduled_tasks AS t
        WHERE t.merchant_id = r.merchant_id AND t.recovery_id = r.id AND {_IS_HELD}
        ORDER BY t.held_since, t.id
        LIMIT 1
    )) AS attention
FROM (
    SELECT *
    FROM recoveries
    WHERE {{conditions}}
    ORDER BY opened_at DESC, id DESC
    LIMIT $1
) AS r
{TAKEN_BACK}
ORDER BY r.opened_at DESC, r.id DESC
"""  # noqa: S608 - constants of this file

ATTEMPTS_OF_RECOVERY = """
SELECT id, origin, number, result, amount, currency, payment_method_id, card_network, card_country,
    payment_intent_id, charge_id, error_code, decline_code, advice_code, network_decline_code,
    network_advice_code, predicted_chance, after_cause, started_at, finished_at
FROM attempts
WHERE recovery_id = $1 AND merchant_id = $2
ORDER BY started_at, number
"""

TIMELINE_OF_RECOVERY = """
SELECT at, kind, from_state, to_state, rule, explanation, detail, next_step, next_at
FROM recovery_timeline
WHERE recovery_id = $1 AND merchant_id = $2
ORDER BY id
"""

LIST_ACTIVITY = """
SELECT id, recovery_id, merchant_id, at, kind, from_state, to_state, rule, explanation, detail, next_step, next_at
FROM recovery_timeline
WHERE {conditions}
ORDER BY id DESC
LIMIT $1
"""

# The warnings of the recovery's customer, up to the recovery's end.
WARNINGS_OF_RECOVERY = """
SELECT w.merchant_id, w.customer_id, w.payment_method_id, w.exp_month, w.exp_year, w.warned_at
FROM recoveries AS r
JOIN card_warnings AS w ON w.merchant_id = r.merchant_id AND w.customer_id = r.customer_id
WHERE r.id = $1 AND r.merchant_id = $2 AND w.warned_at <= COALESCE(r.closed_at, w.warned_at)
ORDER BY w.id
"""

# A `?` stands for a bound value.
RECOVERY_CONDITIONS: Mapping[str, str] = {
    "merchant_id": "merchant_id = ?",
    "id": "id = ?",
    "invoice_id": "invoice_id = ?",
    "subscription_id": "subscription_id = ?",
    "customer_id": "customer_id = ?",
    "currency": "currency = ?",
    "opened_from": "opened_at >= ?",
    "opened_to": "opened_at < ?",
    "before": "(opened_at, id) < (?, ?)",
    "attention": f"id IN {_NEED_ATTENTION} AND ?",
    "no_attention": f"id NOT IN {_NEED_ATTENTION} AND ?",
}

ACTIVITY_CONDITIONS: Mapping[str, str] = {"merchant_id": "merchant_id = ?", "before": "id < ?"}

# Open recoveries are few rows with an index of their own; ended ones are most of the table.
RECOVERY_STATE: Mapping[RecoveryState, str] = {
    state: f"state = '{state}'" + ("" if state in ENDS else " AND closed_at IS NULL") for state in RecoveryState
}


def select_recoveries(limit: int, state: RecoveryState | None, given: Mapping[str, Any]) -> Select:
    """Recoveries, newest first; `given` holds values for RECOVERY_CONDITIONS."""
    return narrowed(LIST_RECOVERIES, [limit], RECOVERY_CONDITIONS, given, RECOVERY_STATE[state] if state else None)


async def attempts_of(db: Connection, recovery_id: RecoveryId, merchant_id: MerchantId) -> list[Row]:
    """The attempts of a recovery, oldest first."""
    return await db.fetch(ATTEMPTS_OF_RECOVERY, recovery_id, merchant_id)


async def timeline_of(db: Connection, recovery_id: RecoveryId, merchant_id: MerchantId) -> list[Row]:
    """The whole timeline of a recovery, oldest first."""
    return await db.fetch(TIMELINE_OF_RECOVERY, recovery_id, merchant_id)


async def whole_story(db: Connection, row: Row) -> dict[str, Any]:
    """A recovery's row with its attempts, its timeline and its customer's card warnings."""
    recovery_id, merchant_id = row["id"], row["merchant_id"]
    return {
        **row,
        "attempts": [dict(each) for each in await attempts_of(db, recovery_id, merchant_id)],
        "timeline": [dict(each) for each in await timeline_of(db, recovery_id, merchant_id)],
        "card_warnings": [dict(each) for each in await db.fetch(WARNINGS_OF_RECOVERY, recovery_id, merchant_id)],
    }


def select_activity(limit: int, merchant_id: MerchantId | None, before: ById | None) -> Select:
    """Timeline entries of all recoveries, newest first."""
    return narrowed(LIST_ACTIVITY, [limit], ACTIVITY_CONDITIONS, {"merchant_id": merchant_id, "before": before})
