"""The ledger's SQL. Every statement about a tenant's rows names the merchant; only a platform's key leaves it open.

Lists are built from constants: a statement, and one condition for each filter that is given. A filter that is not
given leaves no trace (`$1 IS NULL OR …` would keep the planner from its indexes), and a status stands in the text as
a literal, because a bound one would defeat the partial indexes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg

from services.ledger.pagination import ById, ByTime
from shared.database import Connection
from shared.recoveries import ENDS, RecoveryState

Row = asyncpg.Record

# ---- merchants ------------------------------------------------------------------------------------------------------

MERCHANT_STATUS = "SELECT status FROM merchants WHERE id = $1"

# By Stripe's id of the account, or by ours.
MERCHANT_NAMED = """
SELECT id::text
FROM merchants
WHERE CASE WHEN $1 LIKE 'acct\\_%' THEN stripe_connect_id = $1 ELSE id::text = lower($1) END
"""

LIST_MERCHANTS = """
SELECT id, stripe_connect_id, tier, status, livemode, created_at, connected_at, disconnected_at,
    catch_ups.finished_at AS caught_up_at, COALESCE(events_found, 0) AS missed_events,
    COALESCE(recoveries_found, 0) AS missed_recoveries
FROM merchants
LEFT JOIN catch_ups ON catch_ups.merchant_id = merchants.id::text
WHERE {conditions}
ORDER BY created_at DESC, id DESC
LIMIT $1
"""

# ---- numbers --------------------------------------------------------------------------------------------------------

# One row per currency, whatever was logged.
MERCHANT_TOTALS = """
SELECT currency, failed_cents, failed_count, recovered_cents, recovered_count, exhausted_cents, exhausted_count,
    stopped_cents, stopped_count, attempt_count, message_count
FROM merchant_totals
WHERE merchant_id = $1
ORDER BY currency
"""

# One row per merchant and currency is read, whatever was logged.
PLATFORM_TOTALS = """
SELECT currency,
    sum(failed_cents)::bigint AS failed_cents, sum(failed_count)::bigint AS failed_count,
    sum(recovered_cents)::bigint AS recovered_cents, sum(recovered_count)::bigint AS recovered_count,
    sum(exhausted_cents)::bigint AS exhausted_cents, sum(exhausted_count)::bigint AS exhausted_count,
    sum(stopped_cents)::bigint AS stopped_cents, sum(stopped_count)::bigint AS stopped_count,
    sum(attempt_count)::bigint AS attempt_count, sum(message_count)::bigint AS message_count
FROM merchant_totals
GROUP BY currency
ORDER BY currency
"""

DAILY_OF_MERCHANT = """
SELECT metric_date AS date, currency, failed_cents, failed_count, COALESCE(recovered_cents, 0) AS recovered_cents,
    recovered_count, exhausted_cents, exhausted_count, stopped_cents, stopped_count, attempt_count, message_count
FROM daily_metrics
WHERE metric_date BETWEEN $1 AND $2 AND {conditions}
ORDER BY metric_date, currency
"""

DAILY_OF_PLATFORM = """
SELECT metric_date AS date, currency,
    sum(failed_cents)::bigint AS failed_cents, sum(failed_count)::bigint AS failed_count,
    COALESCE(sum(recovered_cents), 0)::bigint AS recovered_cents, sum(recovered_count)::bigint AS recovered_count,
    sum(exhausted_cents)::bigint AS exhausted_cents, sum(exhausted_count)::bigint AS exhausted_count,
    sum(stopped_cents)::bigint AS stopped_cents, sum(stopped_count)::bigint AS stopped_count,
    sum(attempt_count)::bigint AS attempt_count, sum(message_count)::bigint AS message_count
FROM daily_metrics
WHERE metric_date BETWEEN $1 AND $2 AND {conditions}
GROUP BY metric_date, currency
ORDER BY metric_date, currency
"""

# ---- recoveries -----------------------------------------------------------------------------------------------------

LIST_RECOVERIES = """
SELECT id, merchant_id, invoice_id, subscription_id, customer_id, state, end_reason, stop_requested, amount_due,
    currency, amount_recovered, recovered_by, decline_cause, policy_id, opened_at, next_attempt_at, closed_at,
    updated_at
FROM recoveries
WHERE {conditions}
ORDER BY opened_at DESC, id DESC
LIMIT $1
"""

ATTEMPTS_OF_RECOVERY = """
SELECT id, origin, number, result, amount, currency, payment_method_id, card_network, card_country,
    payment_intent_id, charge_id, error_code, decline_code, advice_code, network_decline_code,
    network_advice_code, started_at, finished_at
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

# ---- customers ------------------------------------------------------------------------------------------------------

LIST_SILENCES = """
SELECT id, merchant_id, customer_id, reason, silenced_at
FROM silenced_customers
WHERE {conditions}
ORDER BY id DESC
LIMIT $1
"""

LIST_CARD_WARNINGS = """
SELECT id, merchant_id, customer_id, payment_method_id, exp_month, exp_year, warned_at
FROM card_warnings
WHERE {conditions}
ORDER BY id DESC
LIMIT $1
"""

# Of the recovery's customer, up to its end.
WARNINGS_OF_RECOVERY = """
SELECT w.merchant_id, w.customer_id, w.payment_method_id, w.exp_month, w.exp_year, w.warned_at
FROM recoveries AS r
JOIN card_warnings AS w ON w.merchant_id = r.merchant_id AND w.customer_id = r.customer_id
WHERE r.id = $1 AND r.merchant_id = $2 AND w.warned_at <= COALESCE(r.closed_at, w.warned_at)
ORDER BY w.id
"""

# ---- usage ----------------------------------------------------------------------------------------------------------

INSERT_USAGE = """
INSERT INTO usage_logs (merchant_id, metric_type, amount, customer_id)
VALUES ($1, $2, $3, $4)
RETURNING public_id AS id, created_at
"""

# ---- idempotency keys -----------------------------------------------------------------------------------------------

# Held until the transaction ends. Two keys that hash alike wait for each other, and nothing worse.
LOCK_KEY = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"

FIND_KEY = """
SELECT request_hash, response_body
FROM idempotency_keys
WHERE api_key_id = $1 AND key = $2
"""

KEEP_KEY = """
INSERT INTO idempotency_keys (api_key_id, key, request_hash, response_status, response_body)
VALUES ($1, $2, $3, $4, $5)
"""

# ---- conditions -----------------------------------------------------------------------------------------------------

# A `?` is the place of a bound value.
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
}
ACTIVITY_CONDITIONS: Mapping[str, str] = {"merchant_id": "merchant_id = ?", "before": "id < ?"}
CUSTOMER_CONDITIONS: Mapping[str, str] = {
    "merchant_id": "merchant_id = ?",
    "customer_id": "customer_id = ?",
    "before": "id < ?",
}
MERCHANT_CONDITIONS: Mapping[str, str] = {"id": "id = ?", "before": "(created_at, id) < (?, ?)"}
DAILY_CONDITIONS: Mapping[str, str] = {"merchant_id": "merchant_id = ?", "currency": "currency = ?"}

# The states that go on are few rows with an index of their own; the ends are most of the table.
RECOVERY_STATE: Mapping[RecoveryState, str] = {
    state: f"state = '{state}'" + ("" if state in ENDS else " AND closed_at IS NULL") for state in RecoveryState
}


@dataclass(frozen=True, slots=True)
class Select:
    """A statement that is ready to run."""

    sql: str
    arguments: list[Any]


def narrowed(
    statement: str,
    arguments: Sequence[Any],
    conditions: Mapping[str, str],
    given: Mapping[str, Any],
    literal: str | None = None,
) -> Select:
    """`statement` with the condition of each filter in `given` that is not None, numbered after `arguments`."""
    values = list(arguments)
    texts = [literal] if literal else []
    for name, value in given.items():
        if value is None:
            continue
        text = conditions[name]
        for part in value if isinstance(value, tuple) else (value,):
            values.append(part)
            text = text.replace("?", f"${len(values)}", 1)
        texts.append(text)
    return Select(statement.replace("{conditions}", " AND ".join(texts) or "true"), values)


async def fetch(db: Connection, select: Select) -> list[Row]:
    """Run a statement that `narrowed` made."""
    return await db.fetch(select.sql, *select.arguments)


# ---- readings -------------------------------------------------------------------------------------------------------


async def merchant_status(db: Connection, merchant_id: UUID) -> str | None:
    """The status of a merchant; None when there is none."""
    status: str | None = await db.fetchval(MERCHANT_STATUS, merchant_id)
    return status


async def merchant_named(db: Connection, name: str) -> str | None:
    """The id of the merchant with this id, Stripe's (`acct_…`) or ours; None when there is none."""
    found: str | None = await db.fetchval(MERCHANT_NAMED, name)
    return found


def select_merchants(limit: int, merchant_id: UUID | None = None, before: ByTime | None = None) -> Select:
    """Merchants, newest first."""
    return narrowed(LIST_MERCHANTS, [limit], MERCHANT_CONDITIONS, {"id": merchant_id, "before": before})


async def totals(db: Connection, merchant_id: str | None) -> list[Row]:
    """The numbers over all time, one row per currency; None: of all merchants together."""
    if merchant_id is None:
        return await db.fetch(PLATFORM_TOTALS)
    return await db.fetch(MERCHANT_TOTALS, merchant_id)


def select_daily(first: date, last: date, merchant_id: str | None, currency: str | None) -> Select:
    """The numbers per day and currency, both days included; None: of all merchants together."""
    statement = DAILY_OF_PLATFORM if merchant_id is None else DAILY_OF_MERCHANT
    return narrowed(statement, [first, last], DAILY_CONDITIONS, {"merchant_id": merchant_id, "currency": currency})


def select_recoveries(limit: int, state: RecoveryState | None, given: Mapping[str, Any]) -> Select:
    """Recoveries, newest first; `given` holds values for RECOVERY_CONDITIONS."""
    return narrowed(LIST_RECOVERIES, [limit], RECOVERY_CONDITIONS, given, RECOVERY_STATE[state] if state else None)


async def attempts_of(db: Connection, recovery_id: UUID, merchant_id: str) -> list[Row]:
    """The attempts of a recovery, oldest first."""
    return await db.fetch(ATTEMPTS_OF_RECOVERY, recovery_id, merchant_id)


async def timeline_of(db: Connection, recovery_id: UUID, merchant_id: str) -> list[Row]:
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


def select_silences(limit: int, given: Mapping[str, Any]) -> Select:
    """Silences, newest first; `given` holds values for CUSTOMER_CONDITIONS."""
    return narrowed(LIST_SILENCES, [limit], CUSTOMER_CONDITIONS, given)


def select_card_warnings(limit: int, given: Mapping[str, Any]) -> Select:
    """Card warnings, newest first; `given` holds values for CUSTOMER_CONDITIONS."""
    return narrowed(LIST_CARD_WARNINGS, [limit], CUSTOMER_CONDITIONS, given)


def select_activity(limit: int, merchant_id: str | None, before: ById | None) -> Select:
    """Timeline entries of all recoveries, newest first."""
    return narrowed(LIST_ACTIVITY, [limit], ACTIVITY_CONDITIONS, {"merchant_id": merchant_id, "before": before})


# ---- writings -------------------------------------------------------------------------------------------------------


async def insert_usage(db: Connection, merchant_id: str, metric_type: str, amount: int, customer_id: str) -> Row:
    """Write one row of the ledger that is not about a recovery; its public id and time."""
    row = await db.fetchrow(INSERT_USAGE, merchant_id, metric_type, amount, customer_id)
    if row is None:
        raise LookupError("INSERT … RETURNING gives one row")
    return row


async def lock_idempotency_key(db: Connection, api_key_id: UUID, key: str) -> None:
    """Wait until no other transaction works under this key, then hold it until this one ends."""
    await db.execute(LOCK_KEY, f"{api_key_id}:{key}")


async def find_idempotency_key(db: Connection, api_key_id: UUID, key: str) -> Row | None:
    """What was answered under this key; None when nothing was."""
    return await db.fetchrow(FIND_KEY, api_key_id, key)


async def keep_idempotency_key(
    db: Connection, api_key_id: UUID, key: str, request_hash: bytes, status: int, body: Mapping[str, Any]
) -> None:
    """Keep what was answered under this key."""
    await db.execute(KEEP_KEY, api_key_id, key, request_hash, status, dict(body))
