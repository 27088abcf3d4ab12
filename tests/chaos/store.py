"""The crash tests' SQL: audit triggers on the queue, and the checker's statements."""

from datetime import datetime, timedelta
from typing import Any

from shared.database import Connection

# In the test's database only. Records every important change of a task with the process that made it: a claim, the
# renewal of a lease, the end of a run. The services' roles may not write here; the functions have the owner's rights.
AUDIT = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.task_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    client text,
    task_id bigint NOT NULL,
    public_id uuid NOT NULL,
    recovery_id uuid,
    task_type text NOT NULL,
    old_status text,
    status text,
    old_fence bigint,
    fence bigint NOT NULL,
    old_lease timestamptz,
    lease timestamptz,
    why text
);
CREATE FUNCTION chaos.note_task_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
DECLARE
    task public.scheduled_tasks;
BEGIN
    task := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    INSERT INTO chaos.task_changes (client, task_id, public_id, recovery_id, task_type, old_status, status, old_fence,
        fence, old_lease, lease, why)
    VALUES (current_setting('chaos.client', true), task.id, task.public_id, task.recovery_id, task.task_type,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.status END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.status END,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.fence END, task.fence,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.lease_expires_at END,
        CASE WHEN TG_OP <> 'DELETE' THEN NEW.lease_expires_at END, task.last_error);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_task_changes
    AFTER INSERT OR UPDATE OR DELETE ON scheduled_tasks
    FOR EACH ROW EXECUTE FUNCTION chaos.note_task_change();
"""

TASK_CHANGES = """
SELECT id, extract(epoch FROM at)::float8 AS at, client, task_id, public_id::text AS public_id,
    recovery_id::text AS recovery_id, task_type, old_status, status, old_fence, fence,
    extract(epoch FROM old_lease)::float8 AS old_lease, extract(epoch FROM lease)::float8 AS lease, why
FROM chaos.task_changes
ORDER BY id
"""

EVENTS = "SELECT event_id, event_type, object_id, outcome FROM processed_events"

TASKS = """
SELECT id, public_id::text AS public_id, task_type, status, recovery_id::text AS recovery_id, attempts, last_error,
    run_at <= citadel_now() AS due
FROM scheduled_tasks
"""

RECOVERIES = """
SELECT id::text AS id, merchant_id, invoice_id, state, end_reason, stop_requested, recovered_by, amount_due,
    amount_recovered, currency, extract(epoch FROM opened_at)::float8 AS opened_at,
    extract(epoch FROM closed_at)::float8 AS closed_at
FROM recoveries
"""

ATTEMPTS = """
SELECT a.id::text AS id, a.recovery_id::text AS recovery_id, r.invoice_id, a.origin, a.number, a.result, a.amount,
    a.currency, a.idempotency_key, a.charge_id
FROM attempts AS a
JOIN recoveries AS r ON r.id = a.recovery_id
"""

TIMELINE = "SELECT id, recovery_id::text AS recovery_id, kind, from_state, to_state, detail FROM recovery_timeline"

BOOK = """
SELECT recovery_id::text AS recovery_id, merchant_id, metric_type, currency, sum(amount)::bigint AS amount,
    sum(CASE WHEN amount < 0 THEN -1 ELSE 1 END)::bigint AS times
FROM usage_logs
WHERE recovery_id IS NOT NULL
GROUP BY recovery_id, merchant_id, metric_type, currency
"""

SUMS = (
    "failed_cents",
    "failed_count",
    "recovered_cents",
    "recovered_count",
    "exhausted_cents",
    "exhausted_count",
    "stopped_cents",
    "stopped_count",
    "attempt_count",
    "message_count",
)
_SUMMED = ", ".join(f"sum({name})::bigint AS {name}" for name in SUMS)
# Only column names, nothing from outside.
DAILY = f"SELECT merchant_id, currency, {_SUMMED} FROM daily_metrics GROUP BY 1, 2"  # noqa: S608
TOTALS = f"SELECT merchant_id, currency, {_SUMMED} FROM merchant_totals GROUP BY 1, 2"  # noqa: S608

# Stripe may delete a key after a day. Time must stand still while a worker works on an attempt of that age: here a
# request could be decided before that limit and sent after it within milliseconds, in production only within minutes.
AT_THE_BORDER = """
SELECT EXISTS (
    SELECT
    FROM attempts AS a
    JOIN scheduled_tasks AS t ON t.recovery_id = a.recovery_id AND t.status = 'running'
    WHERE a.result = 'started'
        AND citadel_now() + $1::interval - a.started_at BETWEEN interval '19 hours' AND interval '26 hours'
)
"""

UNSETTLED = "SELECT count(*) FROM attempts WHERE result = 'started'"

TO_BE_CAUGHT_UP = """
SELECT count(*)
FROM catch_ups AS c
JOIN merchants AS m ON m.id::text = c.merchant_id
WHERE m.status = 'active' AND c.next_at <= citadel_now()
"""

# A task that was put back for a moment is not due right now, but not done either.
RESTLESS = """
SELECT EXISTS (
    SELECT
    FROM scheduled_tasks
    WHERE status = 'running' OR (status = 'pending' AND run_at <= citadel_now() + interval '5 seconds')
)
"""

# Tasks that died of faults: killed workers, Stripe, the database.
GIVEN_UP = """
SELECT public_id::text AS public_id
FROM scheduled_tasks
WHERE status = 'dead' AND last_error LIKE ANY (ARRAY['lease expired%', 'stripe: %', 'resend: %', 'the database was %'])
ORDER BY id
"""

OPEN_INVOICES = """
SELECT r.invoice_id, r.customer_id
FROM recoveries AS r
WHERE r.closed_at IS NULL
ORDER BY r.opened_at, r.id
"""


# Recoveries that a worker works on now, so that what their customers do coincides with the worker's transactions.
IN_HAND = """
SELECT r.invoice_id, r.customer_id, r.subscription_id
FROM recoveries AS r
JOIN scheduled_tasks AS t ON t.recovery_id = r.id AND t.status = 'running' AND t.task_type = 'dunning_retry'
WHERE r.closed_at IS NULL
ORDER BY r.opened_at, r.id
"""

# A worker's name contains its process id. Its tasks are rescued when it dies or is stopped, except for a locked row.
LOCK_ONE_OF = """
SELECT id
FROM scheduled_tasks
WHERE status = 'running' AND locked_by LIKE '%:' || $1::int || ':%'
ORDER BY id
LIMIT 1
FOR UPDATE SKIP LOCKED
"""


async def install_audit(db: Connection) -> None:
    """Record every change of a task from now on."""
    await db.execute(AUDIT)


async def rows(db: Connection, statement: str) -> list[dict[str, Any]]:
    """The rows of one of the statements above."""
    return [dict(row) for row in await db.fetch(statement)]


async def at_the_border(db: Connection, step: timedelta) -> bool:
    """Whether a worker works on an attempt whose key may be deleted if time moves on by `step`."""
    found: bool = await db.fetchval(AT_THE_BORDER, step)
    return found


async def unsettled(db: Connection) -> int:
    """How many attempts have no outcome."""
    count: int = await db.fetchval(UNSETTLED)
    return count


async def to_be_caught_up(db: Connection) -> int:
    """How many merchants are due for a catch-up."""
    count: int = await db.fetchval(TO_BE_CAUGHT_UP)
    return count


async def restless(db: Connection) -> bool:
    """Whether a task runs or is about to, so that evidence that is read now could contradict itself."""
    found: bool = await db.fetchval(RESTLESS)
    return found


async def given_up(db: Connection) -> list[str]:
    """The public ids of dead tasks to retry."""
    return [row["public_id"] for row in await db.fetch(GIVEN_UP)]


async def open_invoices(db: Connection) -> list[tuple[str, str | None]]:
    """(invoice, customer) of every open recovery, oldest first."""
    return [(row["invoice_id"], row["customer_id"]) for row in await db.fetch(OPEN_INVOICES)]


async def in_hand(db: Connection) -> list[tuple[str, str | None, str | None]]:
    """(invoice, customer, subscription) of every recovery whose `dunning_retry` runs now, oldest first."""
    return [(row["invoice_id"], row["customer_id"], row["subscription_id"]) for row in await db.fetch(IN_HAND)]


async def lock_one_of(db: Connection, pid: int) -> bool:
    """Lock one of this worker's tasks until the transaction ends; False: it had none."""
    return await db.fetchval(LOCK_ONE_OF, pid) is not None


async def now(db: Connection) -> datetime:
    """The business time."""
    moment: datetime = await db.fetchval("SELECT citadel_now()")
    return moment
