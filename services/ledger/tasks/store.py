"""The ledger's SQL about tasks: counts, lists, and the API's changes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.ledger.api.select import Row, Select, narrowed
from shared.database import Connection
from shared.ids import MerchantId, RecoveryId
from shared.queue.tasks import TaskStatus
from shared.queue.tries import tries_of

# Every count stops at 10,001 rows of a partial index, so a queue of millions costs no more than one of thousands. The
# ORDER BYs make the planner take the index: without them it may expect 10,001 rows soon and scan the table.
MERCHANT_QUEUE = """
SELECT
    citadel_now() AS as_of,
    (SELECT count(*) FROM (
        SELECT FROM scheduled_tasks
        WHERE status = 'pending' AND run_at <= citadel_now() AND merchant_id = $1
        ORDER BY run_at LIMIT 10001
    ) AS counted) AS due,
    (SELECT count(*) FROM (
        SELECT FROM scheduled_tasks WHERE status = 'pending' AND merchant_id = $1 ORDER BY run_at LIMIT 10001
    ) AS counted) AS pending,
    (SELECT count(*) FROM (
        SELECT FROM scheduled_tasks WHERE status = 'running' AND merchant_id = $1 ORDER BY locked_by LIMIT 10001
    ) AS counted) AS running,
    (SELECT count(*) FROM (
        SELECT FROM scheduled_tasks WHERE status = 'dead' AND merchant_id = $1 ORDER BY merchant_id, id LIMIT 10001
    ) AS counted) AS dead,
    (SELECT EXTRACT(epoch FROM citadel_now() - run_at)::float8
     FROM scheduled_tasks
     WHERE status = 'pending' AND run_at <= citadel_now() AND merchant_id = $1
     ORDER BY run_at
     LIMIT 1) AS oldest_due_seconds
"""

# For all merchants together, due tasks and the oldest one are read lane by lane, without paused ones.
PLATFORM_QUEUE = """
SELECT
    citadel_now() AS as_of,
    (SELECT count(*) FROM (
        SELECT FROM generate_series(0, 255) AS lane (number)
        CROSS JOIN LATERAL (
            SELECT FROM scheduled_tasks
            WHERE status = 'pending' AND NOT parked AND run_at <= citadel_now()
                AND (hashtextextended(merchant_id, 0) & 255) = lane.number
            ORDER BY run_at LIMIT 10001
        ) AS due
        LIMIT 10001
    ) AS counted) AS due,
    (SELECT count(*) FROM (
        SELECT FROM scheduled_tasks WHERE status = 'pending' ORDER BY merchant_id, run_at, id LIMIT 10001
    ) AS counted) AS pending,
    (SELECT count(*) FROM (
        SELECT FROM scheduled_tasks WHERE status = 'running' ORDER BY locked_by LIMIT 10001
    ) AS counted) AS running,
    (SELECT count(*) FROM (
        SELECT FROM scheduled_tasks WHERE status = 'dead' ORDER BY merchant_id, id LIMIT 10001
    ) AS counted) AS dead,
    (SELECT max(EXTRACT(epoch FROM citadel_now() - first.run_at))::float8
     FROM generate_series(0, 255) AS lane (number)
     CROSS JOIN LATERAL (
        SELECT run_at FROM scheduled_tasks
        WHERE status = 'pending' AND NOT parked AND run_at <= citadel_now()
            AND (hashtextextended(merchant_id, 0) & 255) = lane.number
        ORDER BY run_at LIMIT 1
     ) AS first) AS oldest_due_seconds
"""

# `id` is the public id here: an ORDER BY the row's number must name the table.
# xmin is the transaction that last wrote the row: it changes with every change, whoever makes it.
_TASK = """id AS row_id, public_id AS id, merchant_id, task_type, payload, status, run_at, created_at, recovery_id,
    unique_key, attempts, max_attempts, started_at, finished_at, last_error, held_for, held_since,
    xmin::text AS version"""

LIST_TASKS = """
SELECT <task>
FROM scheduled_tasks
WHERE {conditions}
ORDER BY scheduled_tasks.id DESC
LIMIT $1
""".replace("<task>", _TASK)

# No index covers running tasks together with the others, because each claim would have to write into it.
LIST_TASKS_OF_ANY_STATUS = """
SELECT *
FROM (
    (SELECT <task> FROM scheduled_tasks
     WHERE status <> 'running' AND {conditions} ORDER BY scheduled_tasks.id DESC LIMIT $1)
    UNION ALL
    (SELECT <task> FROM scheduled_tasks
     WHERE status = 'running' AND {conditions} ORDER BY scheduled_tasks.id DESC LIMIT $1)
) AS both_kinds
ORDER BY row_id DESC
LIMIT $1
""".replace("<task>", _TASK)

# A worker's claim skips the row while it is locked here.
LOCK_TASK = """
SELECT <task>
FROM scheduled_tasks
WHERE {conditions}
LIMIT $1
FOR UPDATE
""".replace("<task>", _TASK)

# A task's recovery is locked before the task, as everywhere.
RECOVERY_OF_TASK = """
SELECT recovery_id
FROM scheduled_tasks
WHERE {conditions}
LIMIT $1
"""

# No recovery_id: the API connects no task with a recovery. A time in the past does not put the task first.
INSERT_TASK = """
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, run_at, unique_key, max_attempts)
VALUES ($1, $2, $3, greatest($4, citadel_now()), $5, $6)
ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'running') DO NOTHING
RETURNING <task>
""".replace("<task>", _TASK)

REVIVE_TASK = """
UPDATE scheduled_tasks
SET status = 'pending', parked = false, run_at = citadel_now(), attempts = 0, rescues = 0, finished_at = NULL
WHERE id = $1 AND merchant_id = $2
RETURNING <task>
""".replace("<task>", _TASK)

CANCEL_TASK = """
UPDATE scheduled_tasks
SET status = 'canceled', finished_at = citadel_now()
WHERE id = $1 AND merchant_id = $2
RETURNING <task>
""".replace("<task>", _TASK)

# A `?` stands for a bound value.
TASK_CONDITIONS: Mapping[str, str] = {
    "merchant_id": "merchant_id = ?",
    "id": "(id, public_id) = (citadel_task_number(?), ?)",
    "task_type": "task_type = ?",
    "recovery_id": "recovery_id = ?",
    "before": "id < ?",
}
TASK_STATUS: Mapping[TaskStatus, str] = {status: f"status = '{status}'" for status in TaskStatus}


async def queue_health(db: Connection, merchant_id: MerchantId | None) -> Row:
    """The capped counts of the queue (at most 10,001), the age of its oldest due task, and the business time."""
    row = await db.fetchrow(PLATFORM_QUEUE) if merchant_id is None else await db.fetchrow(MERCHANT_QUEUE, merchant_id)
    if row is None:
        raise LookupError("a SELECT without FROM gives one row")
    return row


def select_tasks(limit: int, status: TaskStatus | None, given: Mapping[str, Any]) -> Select:
    """Tasks, newest first; `given` holds values for TASK_CONDITIONS."""
    if status is None:
        return narrowed(LIST_TASKS_OF_ANY_STATUS, [limit], TASK_CONDITIONS, given)
    return narrowed(LIST_TASKS, [limit], TASK_CONDITIONS, given, TASK_STATUS[status])


def select_task(public_id: UUID, merchant_id: MerchantId | None) -> Select:
    """One task."""
    given = {"id": (public_id, public_id), "merchant_id": merchant_id}
    return narrowed(LIST_TASKS, [1], TASK_CONDITIONS, given)


async def lock_task(db: Connection, public_id: UUID, merchant_id: MerchantId | None) -> Row | None:
    """One task, locked until the transaction ends; None when the merchant has none of this id."""
    given = {"id": (public_id, public_id), "merchant_id": merchant_id}
    select = narrowed(LOCK_TASK, [1], TASK_CONDITIONS, given)
    return await db.fetchrow(select.sql, *select.arguments)


async def recovery_of_task(db: Connection, public_id: UUID, merchant_id: MerchantId | None) -> RecoveryId | None:
    """The recovery that a task is about, if any."""
    given = {"id": (public_id, public_id), "merchant_id": merchant_id}
    select = narrowed(RECOVERY_OF_TASK, [1], TASK_CONDITIONS, given)
    found: RecoveryId | None = await db.fetchval(select.sql, *select.arguments)
    return found


async def insert_task(
    db: Connection,
    merchant_id: MerchantId,
    task_type: str,
    payload: dict[str, Any],
    *,
    run_at: datetime | None = None,
    unique_key: str | None = None,
) -> Row | None:
    """Queue a task; None when another with its unique key is pending or running."""
    return await db.fetchrow(INSERT_TASK, merchant_id, task_type, payload, run_at, unique_key, tries_of(task_type))


async def revive_task(db: Connection, row_id: int, merchant_id: MerchantId) -> Row | None:
    """Make a locked task pending, due now, with all its tries; None when its unique key is queued again already."""
    try:
        return await db.fetchrow(REVIVE_TASK, row_id, merchant_id)
    except asyncpg.UniqueViolationError:
        return None


async def cancel_task(db: Connection, row_id: int, merchant_id: MerchantId) -> Row:
    """Make a locked task canceled."""
    row = await db.fetchrow(CANCEL_TASK, row_id, merchant_id)
    if row is None:
        raise LookupError(f"no task {row_id} of merchant {merchant_id}: it was to be locked")
    return row
