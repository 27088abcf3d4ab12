"""The queue: rows of `scheduled_tasks`, claimed by lanes, completed under a fence.

    pending ──claim──> running ──complete──> succeeded
       ^                  │ │
       ├─retry, hold, …───┘ ├──bury──> dead ──revive (the API)──> pending
       │
       └──cancel──> canceled (a dead one too) ──retry by the API──> pending

Guarantees. A task is handed out once per lease. Every claim raises the task's fence; what ends or renews a claim names
that fence and changes nothing when it is old: the answer says so, and the caller rolls its effects back. A task whose
lease ran out is rescued by any worker. While a task with a `unique_key` is pending or running, another with the same
key is not queued. Of one recovery at most one task runs at any time. A task of a paused type or merchant is not handed
out: the claim that finds it parks it until the pause ends (`shared.queue.control`).

`run_at` is business time; leases are real time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg

from shared.database import Connection
from shared.ids import MerchantId, RecoveryId
from shared.queue.lanes import Lanes, Round
from shared.queue.tries import tries_of


class TaskStatus(StrEnum):
    """A task's status; the drawing is above."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to queue. `run_at=None` is now; `merchant_id` is `merchants.id` as text; `max_tries=None`: by its type."""

    merchant_id: MerchantId
    task_type: str
    payload: dict[str, Any] = field(default_factory=dict)
    run_at: datetime | None = None
    recovery_id: RecoveryId | None = None
    unique_key: str | None = None
    max_tries: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed task. `tries` includes this one; `now` is the business time of the claim.

    `rescues` is how often its lease ran out in a worker's hands, `held_since` since when it is held.
    """

    id: int
    public_id: UUID
    merchant_id: MerchantId
    task_type: str
    payload: dict[str, Any]
    recovery_id: RecoveryId | None
    tries: int
    max_tries: int
    fence: int
    run_at: datetime
    now: datetime
    rescues: int
    held_since: datetime | None = None


ENQUEUE = """
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, run_at, recovery_id, unique_key, max_attempts)
VALUES ($1, $2, $3, COALESCE($4, citadel_now()), $5, $6, $7)
ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'running') DO NOTHING
RETURNING public_id
"""

# 'pending' is a literal, because with a parameter the partial index would not be used. The clock is read once: a call
# of citadel_now() per row or per lane costs more than the row. $4 to $6 are the lanes and their marks, $7 is the most
# from one lane. Every lane is a range of `scheduled_tasks_lanes`, of which only the first tasks are read. The ids go
# into the UPDATE as an array: a join may be planned as a scan of the whole table.
CLAIM = """
WITH clock AS MATERIALIZED (SELECT citadel_now() AS now),
candidates AS MATERIALIZED (
    SELECT
        due.id, due.recovery_id, due.run_at,
        (SELECT EXISTS (SELECT FROM queue_pauses)) AND EXISTS (
            SELECT
            FROM queue_pauses AS p
            WHERE (p.merchant_id IS NULL OR p.merchant_id = due.merchant_id)
                AND (p.task_type IS NULL OR p.task_type = due.task_type)
        ) AS paused
    FROM clock
    CROSS JOIN unnest($4::bigint[], $5::timestamptz[], $6::bigint[]) AS lane (number, run_at, id)
    CROSS JOIN LATERAL (
        SELECT t.id, t.recovery_id, t.run_at, t.merchant_id, t.task_type
        FROM scheduled_tasks AS t
        WHERE t.status = 'pending'
            AND NOT t.parked
            AND (hashtextextended(t.merchant_id, 0) & 255) = lane.number
            AND (t.run_at, t.id) > (lane.run_at, lane.id)
            AND t.run_at <= clock.now
            AND (
                t.recovery_id IS NULL
                OR NOT EXISTS (
                    SELECT FROM scheduled_tasks AS r WHERE r.recovery_id = t.recovery_id AND r.status = 'running'
                )
            )
        ORDER BY t.run_at, t.id
        LIMIT $7
        FOR UPDATE OF t SKIP LOCKED
    ) AS due
    LIMIT $2
),
chosen AS MATERIALIZED (
    SELECT id, paused
    FROM (
        SELECT id, paused, recovery_id, row_number() OVER (PARTITION BY recovery_id ORDER BY run_at, id) AS turn
        FROM candidates
    ) AS of_recovery
    WHERE recovery_id IS NULL OR turn = 1
),
set_aside AS (
    UPDATE scheduled_tasks
    SET parked = true
    WHERE id = ANY (ARRAY(SELECT id FROM chosen WHERE paused))
    RETURNING id, merchant_id, run_at
),
claimed AS (
    UPDATE scheduled_tasks AS t
    SET status = 'running',
        fence = t.fence + 1,
        attempts = t.attempts + 1,
        locked_by = $1,
        lease_expires_at = clock_timestamp() + $3::interval,
        started_at = (SELECT now FROM clock)
    WHERE id = ANY (ARRAY(SELECT id FROM chosen WHERE NOT paused))
    RETURNING t.id, t.public_id, t.merchant_id, t.task_type, t.payload, t.recovery_id, t.attempts, t.max_attempts,
        t.fence, t.run_at, (SELECT now FROM clock) AS now, t.rescues, t.held_since
)
SELECT *, hashtextextended(merchant_id, 0) & 255 AS lane FROM claimed
UNION ALL
SELECT id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, run_at, (SELECT now FROM clock), NULL, NULL,
    hashtextextended(merchant_id, 0) & 255
FROM set_aside
"""

# `locked_by` is set exactly while a task runs. `status = 'running'` would mean the same, but the planner would take the
# index of running tasks, which seems tiny and is full of dead entries of tasks that ran lately.
COMPLETE_MANY = """
WITH clock AS MATERIALIZED (SELECT citadel_now() AS now)
UPDATE scheduled_tasks AS t
SET status = 'succeeded', finished_at = clock.now, locked_by = NULL, lease_expires_at = NULL, last_error = NULL
FROM clock, unnest($1::bigint[], $2::bigint[]) AS done (id, fence)
WHERE t.id = done.id AND t.fence = done.fence AND t.locked_by IS NOT NULL
RETURNING t.id
"""

# $3 says what becomes of each, $4 in how many seconds it is due (NULL: its time stays), $5 the tries given back, $7 why
# it is held. One that is given back unchanged (without an error) stays held.
END_MANY = """
WITH clock AS MATERIALIZED (SELECT citadel_now() AS now)
UPDATE scheduled_tasks AS t
SET status = run.status,
    run_at = COALESCE(clock.now + run.delay * interval '1 second', t.run_at),
    attempts = t.attempts - run.given_back,
    finished_at = CASE WHEN run.status = 'dead' THEN clock.now END,
    locked_by = NULL,
    lease_expires_at = NULL,
    last_error = COALESCE(run.error, t.last_error),
    held_for = CASE WHEN run.error IS NULL THEN t.held_for ELSE run.held_for END,
    held_since = CASE
        WHEN run.error IS NULL THEN t.held_since
        WHEN run.held_for IS NOT NULL THEN COALESCE(t.held_since, clock.now)
    END
FROM clock,
    unnest($1::bigint[], $2::bigint[], $3::text[], $4::float8[], $5::integer[], $6::text[], $7::text[])
        AS run (id, fence, status, delay, given_back, error, held_for)
WHERE t.id = run.id AND t.fence = run.fence AND t.locked_by IS NOT NULL
RETURNING t.id
"""

# Of these merchants and reasons those for which no other task is held.
FIRST_HELD = """
SELECT DISTINCT h.merchant_id, h.held_for
FROM unnest($1::text[], $2::text[]) AS h (merchant_id, held_for)
WHERE NOT EXISTS (
    SELECT
    FROM scheduled_tasks AS t
    WHERE t.merchant_id = h.merchant_id
        AND t.held_for = h.held_for
        AND t.status IN ('pending', 'running')
        AND t.id <> ALL ($3::bigint[])
)
"""

HELD = """
SELECT t.id
FROM unnest($1::bigint[], $2::bigint[]) AS claimed (id, fence)
JOIN scheduled_tasks AS t ON t.id = claimed.id AND t.fence = claimed.fence
WHERE t.locked_by IS NOT NULL
"""

RENEW = """
UPDATE scheduled_tasks AS t
SET lease_expires_at = clock_timestamp() + $3::interval
FROM unnest($1::bigint[], $2::bigint[]) AS held (id, fence)
WHERE t.id = held.id AND t.fence = held.fence AND t.locked_by IS NOT NULL
RETURNING t.id
"""

# Rescued tasks are due a little later, each by another step: so one that kills its worker is not first again, and does
# not run beside the same tasks.
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
                  ELSE citadel_now() + interval '1 second' * least(t.rescues + 1, 10) * (0.5 + random() / 2) END,
    rescues = least(t.rescues + 1, 1000),
    finished_at = CASE WHEN t.attempts >= t.max_attempts THEN citadel_now() END,
    locked_by = NULL,
    lease_expires_at = NULL,
    last_error = 'lease expired: the worker ' || t.locked_by || ' died or stalled'
FROM lost
WHERE t.id = lost.id
RETURNING t.id, t.task_type, t.status
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
        task.max_tries or tries_of(task.task_type),
    )
    return public_id


async def claim(db: Connection, worker: str, limit: int, lease: timedelta, lanes: Lanes | None = None) -> list[Task]:
    """Take up to `limit` due tasks for `worker`, each under a lease of its own: merchants in turn, oldest first.

    `lanes` remembers between claims how far each lane was claimed; without it all lanes are scanned from the start.
    `lanes.more` says whether there may be more. It is one statement and needs no transaction around it.

    Raises asyncpg.UniqueViolationError when another worker has just taken another task of the same recovery: nothing
    was claimed, and the next claim sees it. Outside a transaction, which such an error breaks, the claim is repeated.
    """
    known = lanes or Lanes()
    claims_left = 1 if db.is_in_transaction() else 3
    while True:
        asked = known.next_round(limit)
        try:
            rows = await _ask(db, asked, worker, lease)
        except asyncpg.UniqueViolationError:
            known.failed(asked)
            claims_left -= 1
            if not claims_left:
                raise
        except BaseException:  # a canceled claim, too: its lanes were not asked
            known.failed(asked)
            raise
        else:
            break
    known.answered(asked, rows[0]["now"] if rows else None, ((row["lane"], row["run_at"], row["id"]) for row in rows))
    return _in_turn([Task(*row[:13]) for row in rows if row["fence"] is not None])


async def _ask(db: Connection, asked: Round, worker: str, lease: timedelta) -> list[asyncpg.Record]:
    return await db.fetch(CLAIM, worker, asked.limit, lease, asked.numbers, asked.run_ats, asked.ids, asked.quota)


def _in_turn(tasks: list[Task]) -> list[Task]:
    """Each merchant's oldest first, then each one's second, and so on."""
    tasks.sort(key=lambda task: (task.run_at, task.id))
    turns: dict[MerchantId, int] = {}
    keyed: list[tuple[int, Task]] = []
    for task in tasks:
        turn = turns.get(task.merchant_id, 0)
        turns[task.merchant_id] = turn + 1
        keyed.append((turn, task))
    if len(turns) > 1:
        keyed.sort(key=lambda each: each[0])
    return [task for _, task in keyed]


async def complete(db: Connection, task: Task) -> bool:
    """Complete the task. False: its lease was lost, and this run must have no effect."""
    return task.id in await complete_many(db, [task])


async def complete_many(db: Connection, tasks: Sequence[Task]) -> set[int]:
    """Complete the tasks; the ids of those that were still held. The others must have no effect."""
    ids, fences = [task.id for task in tasks], [task.fence for task in tasks]
    return {row[0] for row in await db.fetch(COMPLETE_MANY, ids, fences)}


@dataclass(frozen=True, slots=True)
class End:
    """How a claimed task ends that is not done. `error` is short and free of PII; None keeps the previous one.

    `delay=None` keeps its time; `counts=False` gives the try back. `held_for` says why it is held, if it is.
    """

    task: Task
    status: TaskStatus
    delay: timedelta | None
    counts: bool
    error: str | None
    held_for: str | None = None


async def end_many(db: Connection, ends: Sequence[End]) -> set[int]:
    """Put tasks back or bury them; the ids of those that were still held."""
    rows = await db.fetch(
        END_MANY,
        [each.task.id for each in ends],
        [each.task.fence for each in ends],
        [each.status for each in ends],
        [None if each.delay is None else each.delay.total_seconds() for each in ends],
        [0 if each.counts else 1 for each in ends],
        [each.error for each in ends],
        [each.held_for for each in ends],
    )
    return {row[0] for row in rows}


def to_retry(task: Task, delay: timedelta, error: str) -> End:
    """Back in the queue, to run after `delay`; the try is used up."""
    return End(task, TaskStatus.PENDING, delay, counts=True, error=error)


def to_postpone(task: Task, delay: timedelta, error: str) -> End:
    """Back in the queue, the try not counted: the failure was not its fault."""
    return End(task, TaskStatus.PENDING, delay, counts=False, error=error)


def to_hold(task: Task, delay: timedelta, error: str, held_for: str) -> End:
    """Back in the queue, the try not counted: Stripe lets nobody do it now, for this reason."""
    return End(task, TaskStatus.PENDING, delay, counts=False, error=error, held_for=held_for)


async def first_held(db: Connection, ends: Sequence[End]) -> list[tuple[MerchantId, str]]:
    """The merchants and reasons of held tasks that are news: no other task of the merchant is held for that reason."""
    new = [each for each in ends if each.held_for is not None and each.task.held_since is None]
    if not new:
        return []
    merchants, reasons = [each.task.merchant_id for each in new], [each.held_for for each in new]
    rows = await db.fetch(FIRST_HELD, merchants, reasons, [each.task.id for each in new])
    return [(row["merchant_id"], row["held_for"]) for row in rows]


def to_bury(task: Task, error: str) -> End:
    """To the dead letters; `error` says why."""
    return End(task, TaskStatus.DEAD, None, counts=True, error=error)


def to_release(task: Task) -> End:
    """Back unchanged: the try was not made and is given back."""
    return End(task, TaskStatus.PENDING, None, counts=False, error=None)


async def release(db: Connection, task: Task) -> bool:
    """Give the task back unchanged. False: its lease was lost."""
    return task.id in await end_many(db, [to_release(task)])


async def held(db: Connection, tasks: Sequence[Task]) -> set[int]:
    """The ids of those that are still held under their fence."""
    ids, fences = [task.id for task in tasks], [task.fence for task in tasks]
    return {row["id"] for row in await db.fetch(HELD, ids, fences)}


async def renew(db: Connection, tasks: Sequence[Task], lease: timedelta) -> set[int]:
    """Extend the leases; the ids that are still held. The lease of a missing one was lost: stop working on it."""
    ids, fences = [task.id for task in tasks], [task.fence for task in tasks]
    return {row["id"] for row in await db.fetch(RENEW, ids, fences, lease)}


async def rescue(db: Connection, limit: int = 500) -> list[tuple[int, str, TaskStatus]]:
    """Rescue tasks whose lease ran out: back to pending, or dead when their tries are used up.

    Gives (id, task type, new status) of each.
    """
    rows = await db.fetch(RESCUE, limit)
    return [(row["id"], row["task_type"], TaskStatus(row["status"])) for row in rows]
