"""An operator's commands for the queue: pause and resume, cancel, retry dead letters; by filter, in short batches.

A pause is one row, however many tasks are queued. From its commit on, none of the tasks that it covers is claimed: a
claim that finds one parks it instead (`parked`, still pending), so that claims do not walk over a paused merchant's
million tasks again and again. Resuming deletes the row and unparks the tasks that no other pause covers; the janitor
unparks any that were missed.

Who cancels the evaluation of a recovery stops the recovery (`shared.interventions`): nothing brings the task back.
"""

from dataclasses import dataclass
from datetime import datetime

from shared import interventions
from shared.database import Connection
from shared.ids import MerchantId
from shared.interventions import CanceledTask

BATCH = 1_000
"""The most rows that one of these statements changes."""


@dataclass(frozen=True, slots=True)
class Which:
    """Tasks of a merchant, of a type, or of both; None is any."""

    merchant_id: MerchantId | None = None
    task_type: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in force."""

    merchant_id: MerchantId | None
    task_type: str | None
    reason: str
    paused_at: datetime


PAUSE = """
INSERT INTO queue_pauses (merchant_id, task_type, reason)
VALUES ($1, $2, $3)
ON CONFLICT (merchant_id, task_type) DO NOTHING
RETURNING 1
"""

END_PAUSE = """
DELETE FROM queue_pauses
WHERE merchant_id IS NOT DISTINCT FROM $1 AND task_type IS NOT DISTINCT FROM $2
RETURNING 1
"""

LIST_PAUSES = """
SELECT merchant_id, task_type, reason, paused_at
FROM queue_pauses
WHERE $1::text IS NULL OR merchant_id = $1
ORDER BY paused_at, merchant_id, task_type
"""

# Ordered by merchant, so that the planner takes the index of parked tasks.
UNPARK = """
UPDATE scheduled_tasks
SET parked = false
WHERE id = ANY (ARRAY(
    SELECT t.id
    FROM scheduled_tasks AS t
    WHERE t.status = 'pending' AND t.parked
        AND NOT EXISTS (
            SELECT
            FROM queue_pauses AS p
            WHERE (p.merchant_id IS NULL OR p.merchant_id = t.merchant_id)
                AND (p.task_type IS NULL OR p.task_type = t.task_type)
        )
    ORDER BY t.merchant_id, t.id
    LIMIT $1
    FOR UPDATE OF t SKIP LOCKED
))
RETURNING id
"""

# Without a lock: the recoveries are locked before their tasks, as everywhere. An evaluation that only finds out how an
# attempt ended, after a stop, stays.
TO_CANCEL = """
SELECT t.id, t.recovery_id
FROM scheduled_tasks AS t
WHERE t.status = 'pending'
    AND ($1::text IS NULL OR t.merchant_id = $1)
    AND ($2::text IS NULL OR t.task_type = $2)
    AND NOT (
        t.task_type = 'dunning_retry' AND EXISTS (
            SELECT FROM recoveries AS r
            WHERE r.id = t.recovery_id AND r.closed_at IS NULL AND r.stop_requested IS NOT NULL
        )
    )
ORDER BY t.merchant_id, t.run_at, t.id
LIMIT $3
"""

CANCEL = """
UPDATE scheduled_tasks
SET status = 'canceled', finished_at = citadel_now(), last_error = $2
WHERE id = ANY (ARRAY(
    SELECT id
    FROM scheduled_tasks
    WHERE id = ANY ($1::bigint[]) AND status = 'pending'
    ORDER BY id
    FOR UPDATE SKIP LOCKED
))
RETURNING public_id, task_type, recovery_id, payload, run_at
"""

# Evaluations that a worker has in its hands: they cannot be canceled, but their recoveries can be stopped.
EVALUATED_NOW = """
SELECT t.recovery_id
FROM scheduled_tasks AS t
JOIN recoveries AS r ON r.id = t.recovery_id
WHERE t.status = 'running' AND t.task_type = 'dunning_retry'
    AND ($1::text IS NULL OR t.merchant_id = $1)
    AND ($2::text IS NULL OR t.task_type = $2)
    AND r.closed_at IS NULL AND r.stop_requested IS NULL
"""

# A dead task whose unique key is queued again stays dead; of two with the same key the newer one is revived. Tasks of
# merchants that are gone stay dead, too.
REVIVE = """
UPDATE scheduled_tasks
SET status = 'pending', parked = false, run_at = citadel_now(), attempts = 0, rescues = 0, finished_at = NULL
WHERE id = ANY (ARRAY(
    SELECT t.id
    FROM scheduled_tasks AS t
    WHERE t.status = 'dead'
        AND ($1::text IS NULL OR t.merchant_id = $1)
        AND ($2::text IS NULL OR t.task_type = $2)
        AND EXISTS (SELECT FROM merchants AS m WHERE m.id::text = t.merchant_id AND m.status = 'active')
        AND (
            t.unique_key IS NULL
            OR NOT EXISTS (
                SELECT
                FROM scheduled_tasks AS other
                WHERE other.unique_key = t.unique_key
                    AND (other.status IN ('pending', 'running') OR (other.status = 'dead' AND other.id > t.id))
            )
        )
    ORDER BY t.merchant_id, t.id
    LIMIT $3
    FOR UPDATE OF t SKIP LOCKED
))
RETURNING id
"""


async def pause(db: Connection, which: Which, reason: str) -> bool:
    """Hand out none of these tasks from the commit on. False: they were paused already.

    Tasks that run already go on to their end. Raises ValueError for a pause of everything.
    """
    if which.merchant_id is None and which.task_type is None:
        raise ValueError("a pause names a merchant, a task type, or both")
    return await db.fetchval(PAUSE, which.merchant_id, which.task_type, reason) is not None


async def resume(db: Connection, which: Which) -> bool:
    """End exactly this pause. False: there is none. The caller then runs `unpark`, in transactions of its own."""
    return await db.fetchval(END_PAUSE, which.merchant_id, which.task_type) is not None


async def pauses(db: Connection, merchant_id: MerchantId | None = None) -> list[Pause]:
    """The pauses in force, or one merchant's."""
    return [Pause(**row) for row in await db.fetch(LIST_PAUSES, merchant_id)]


async def unpark(db: Connection, limit: int = BATCH) -> int:
    """Unpark at most `limit` tasks that no pause covers any more; how many."""
    return len(await db.fetch(UNPARK, limit))


async def cancel(db: Connection, which: Which, why: str, limit: int = BATCH) -> int:
    """Cancel at most `limit` pending tasks, and what they were for; how many.

    A recovery whose evaluation is canceled is stopped, and so is one whose evaluation runs: its run goes on to the end,
    but makes no call from the commit on.
    """
    count = 0
    while count < limit:
        found = await db.fetch(TO_CANCEL, which.merchant_id, which.task_type, limit - count)
        running = [row[0] for row in await db.fetch(EVALUATED_NOW, which.merchant_id, which.task_type)]
        await interventions.lock(db, [*(row["recovery_id"] for row in found if row["recovery_id"]), *running])
        rows = await db.fetch(CANCEL, [row["id"] for row in found], why)
        canceled = [CanceledTask(*row) for row in rows if row["recovery_id"] is not None]
        await interventions.follow_cancel(db, canceled, running)
        count += len(rows)
        if not rows:
            break
    return count


async def revive(db: Connection, which: Which, limit: int = BATCH) -> int:
    """Make at most `limit` dead tasks pending, due now, with all their tries; how many."""
    return len(await db.fetch(REVIVE, which.merchant_id, which.task_type, limit))
