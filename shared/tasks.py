"""The queue: rows of `scheduled_tasks`, claimed with SKIP LOCKED, completed under a fence.

    pending ──claim──> running ──complete──> succeeded
       ^                  │ │
       ├─retry, release,──┘ ├──bury──> dead ──revive (the API)──> pending
       │ postpone
       └──cancel──> canceled (a dead one too) ──retry by the API──> pending

Guarantees. A task is handed out once per lease. Every claim raises the task's fence; `complete`, `retry`, `postpone`,
`bury` and `release` name the fence that they were claimed under and change nothing when it is old: they return False,
and the caller rolls its effects back. A task whose lease ran out is rescued by any worker. While a task with a
`unique_key` is pending or running, another with the same key is not queued.

`run_at` is business time; leases are real time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from shared.database import Connection


class TaskStatus(StrEnum):
    """Where a task is in its life; the drawing is above."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to queue. `run_at=None` is now; `merchant_id` is `merchants.id` as text."""

    merchant_id: str
    task_type: str
    payload: dict[str, Any] = field(default_factory=dict)
    run_at: datetime | None = None
    recovery_id: UUID | None = None
    unique_key: str | None = None
    max_attempts: int = 10


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed task. `attempt` counts from 1; `now` is the business's now of the claim."""

    id: int
    public_id: UUID
    merchant_id: str
    task_type: str
    payload: dict[str, Any]
    recovery_id: UUID | None
    attempt: int
    max_attempts: int
    fence: int
    run_at: datetime
    now: datetime


ENQUEUE = """
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, run_at, recovery_id, unique_key, max_attempts)
VALUES ($1, $2, $3, COALESCE($4, citadel_now()), $5, $6, $7)
ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'running') DO NOTHING
RETURNING public_id
"""

# 'pending' and the clock stand in the statement, never as parameters: a bound value would defeat the partial index.
CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id
    FROM scheduled_tasks
    WHERE status = 'pending' AND run_at <= citadel_now()
    ORDER BY run_at, id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE scheduled_tasks AS t
SET status = 'running',
    fence = t.fence + 1,
    attempts = t.attempts + 1,
    locked_by = $1,
    lease_expires_at = clock_timestamp() + $3::interval,
    started_at = citadel_now()
FROM due
WHERE t.id = due.id
RETURNING t.id, t.public_id, t.merchant_id, t.task_type, t.payload, t.recovery_id,
    t.attempts, t.max_attempts, t.fence, t.run_at, citadel_now() AS now
"""

COMPLETE = """
UPDATE scheduled_tasks
SET status = 'succeeded', finished_at = citadel_now(), locked_by = NULL, lease_expires_at = NULL, last_error = NULL
WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id
"""

RETRY = """
UPDATE scheduled_tasks
SET status = 'pending', run_at = citadel_now() + $3::interval, locked_by = NULL, lease_expires_at = NULL,
    last_error = $4
WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id
"""

BURY = """
UPDATE scheduled_tasks
SET status = 'dead', finished_at = citadel_now(), locked_by = NULL, lease_expires_at = NULL, last_error = $3
WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id
"""

# An attempt that was not made is given back.
RELEASE = """
UPDATE scheduled_tasks
SET status = 'pending', attempts = attempts - 1, locked_by = NULL, lease_expires_at = NULL
WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id
"""

# As RETRY, but the try was not the task's fault: the attempt is given back.
POSTPONE = """
UPDATE scheduled_tasks
SET status = 'pending', run_at = citadel_now() + $3::interval, attempts = attempts - 1,
    locked_by = NULL, lease_expires_at = NULL, last_error = $4
WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id
"""

RENEW = """
UPDATE scheduled_tasks AS t
SET lease_expires_at = clock_timestamp() + $3::interval
FROM unnest($1::bigint[], $2::bigint[]) AS held (id, fence)
WHERE t.id = held.id AND t.fence = held.fence AND t.status = 'running'
RETURNING t.id
"""

# A rescued task goes back a little in the line, so that one that kills its worker does not lead it again.
RESCUE = """
WITH lost AS MATERIALIZED (
    SELECT id
    FROM scheduled_tasks
    WHERE status = 'running' AND lease_expires_at < clock_timestamp()
    ORDER BY id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE scheduled_tasks AS t
SET status = CASE WHEN t.attempts >= t.max_attempts THEN 'dead' ELSE 'pending' END,
    run_at = CASE WHEN t.attempts >= t.max_attempts THEN t.run_at
                  ELSE citadel_now() + interval '1 second' * least(t.attempts, 10) END,
    finished_at = CASE WHEN t.attempts >= t.max_attempts THEN citadel_now() END,
    locked_by = NULL,
    lease_expires_at = NULL,
    last_error = 'lease expired: the worker ' || t.locked_by || ' died or stalled'
FROM lost
WHERE t.id = lost.id
RETURNING t.id, t.task_type, t.status
"""

CANCEL_OF_RECOVERY = """
UPDATE scheduled_tasks
SET status = 'canceled', finished_at = citadel_now(), last_error = $2
WHERE recovery_id = $1 AND status = 'pending'
RETURNING id
"""

CANCEL_OF_MERCHANT = """
UPDATE scheduled_tasks
SET status = 'canceled', finished_at = citadel_now(), last_error = $2
WHERE merchant_id = $1 AND status = 'pending'
RETURNING id
"""


async def enqueue(db: Connection, task: NewTask) -> UUID | None:
    """Queue a task in the caller's transaction; its public id, or None when its unique key is already queued."""
    public_id: UUID | None = await db.fetchval(
        ENQUEUE,
        task.merchant_id,
        task.task_type,
        task.payload,
        task.run_at,
        task.recovery_id,
        task.unique_key,
        task.max_attempts,
    )
    return public_id


async def claim(db: Connection, worker: str, limit: int, lease: timedelta) -> list[Task]:
    """Take up to `limit` due tasks for `worker`, oldest first, each under a lease of its own."""
    rows = await db.fetch(CLAIM, worker, limit, lease)
    tasks = [
        Task(
            id=row["id"],
            public_id=row["public_id"],
            merchant_id=row["merchant_id"],
            task_type=row["task_type"],
            payload=row["payload"],
            recovery_id=row["recovery_id"],
            attempt=row["attempts"],
            max_attempts=row["max_attempts"],
            fence=row["fence"],
            run_at=row["run_at"],
            now=row["now"],
        )
        for row in rows
    ]
    return sorted(tasks, key=lambda task: (task.run_at, task.id))


async def complete(db: Connection, task: Task) -> bool:
    """End the task as done. False: its lease was lost, and nothing of this run may take effect."""
    return await db.fetchval(COMPLETE, task.id, task.fence) is not None


async def retry(db: Connection, task: Task, delay: timedelta, error: str) -> bool:
    """Put the task back to run after `delay`; `error` is short and free of PII."""
    return await db.fetchval(RETRY, task.id, task.fence, delay, error) is not None


async def bury(db: Connection, task: Task, error: str) -> bool:
    """Move the task to the dead letters; `error` says why, short and free of PII."""
    return await db.fetchval(BURY, task.id, task.fence, error) is not None


async def release(db: Connection, task: Task) -> bool:
    """Give the task back untouched: the attempt is not counted."""
    return await db.fetchval(RELEASE, task.id, task.fence) is not None


async def postpone(db: Connection, task: Task, delay: timedelta, error: str) -> bool:
    """Put the task back to run after `delay`, its attempt not counted: what failed was not its fault."""
    return await db.fetchval(POSTPONE, task.id, task.fence, delay, error) is not None


async def renew(db: Connection, tasks: Sequence[Task], lease: timedelta) -> set[int]:
    """Extend the leases; the ids that are still held. A task that is missing was lost: stop working on it."""
    ids, fences = [task.id for task in tasks], [task.fence for task in tasks]
    return {row["id"] for row in await db.fetch(RENEW, ids, fences, lease)}


async def rescue(db: Connection, limit: int = 500) -> list[tuple[int, str, TaskStatus]]:
    """Take tasks from workers whose lease ran out: back to pending, or dead when their attempts are used up.

    Gives (id, task type, new status) of each.
    """
    rows = await db.fetch(RESCUE, limit)
    return [(row["id"], row["task_type"], TaskStatus(row["status"])) for row in rows]


async def cancel_of_recovery(db: Connection, recovery_id: UUID, why: str) -> int:
    """Cancel every pending task of one recovery; how many. A running one ends by itself."""
    return len(await db.fetch(CANCEL_OF_RECOVERY, recovery_id, why))


async def cancel_of_merchant(db: Connection, merchant_id: str, why: str) -> int:
    """Cancel every pending task of one merchant; how many."""
    return len(await db.fetch(CANCEL_OF_MERCHANT, merchant_id, why))
