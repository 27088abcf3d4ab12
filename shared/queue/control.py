"""An operator's commands for the queue: pause and resume, cancel, retry dead letters; by filter, in short batches.

A pause is one row, however many tasks are queued. From its commit on, none of the tasks that it covers is claimed: a
claim that finds one parks it instead (`parked`, still pending), so that claims do not walk over a paused merchant's
million tasks again and again. Resuming deletes the row and unparks the tasks that no other pause covers; the janitor
unparks any that were missed.
"""

from dataclasses import dataclass
from datetime import datetime

from shared.database import Connection
from shared.ids import MerchantId

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

CANCEL = """
UPDATE scheduled_tasks
SET status = 'canceled', finished_at = citadel_now(), last_error = $3
WHERE id = ANY (ARRAY(
    SELECT id
    FROM scheduled_tasks
    WHERE status = 'pending'
        AND ($1::text IS NULL OR merchant_id = $1)
        AND ($2::text IS NULL OR task_type = $2)
    ORDER BY merchant_id, run_at, id
    LIMIT $4
    FOR UPDATE SKIP LOCKED
))
RETURNING id
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
    """Cancel at most `limit` pending tasks; how many."""
    return len(await db.fetch(CANCEL, which.merchant_id, which.task_type, why, limit))


async def revive(db: Connection, which: Which, limit: int = BATCH) -> int:
    """Make at most `limit` dead tasks pending, due now, with all their tries; how many."""
    return len(await db.fetch(REVIVE, which.merchant_id, which.task_type, limit))
