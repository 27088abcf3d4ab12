"""What an operator does to the queue: pause and resume, cancel, retry dead letters; by filter, in short batches.

A pause is one row, whatever is queued. From its commit on no task that it covers is claimed: the claim that meets one
parks it instead (`parked`, still pending), so a paused merchant's million tasks are not walked over again and again.
Resuming takes the row away and unparks what no other pause covers; the janitor finds what fell in between.
"""

from dataclasses import dataclass
from datetime import datetime

from shared.database import Connection

BATCH = 1_000
"""The most rows that one of these statements changes."""


@dataclass(frozen=True, slots=True)
class Which:
    """Tasks of a merchant, of a type, or of both; None is any."""

    merchant_id: str | None = None
    task_type: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in force."""

    merchant_id: str | None
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

# The order by merchant leads to the index of what is parked.
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

# A key that is queued again is left alone, and of two dead ones with one key the newer lives. So is a merchant's that
# is gone.
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
    """Hand out no task of these from the commit on; False: it was so already. A pause of everything raises ValueError.

    What runs already ends by itself.
    """
    if which.merchant_id is None and which.task_type is None:
        raise ValueError("a pause names a merchant, a task type, or both")
    return await db.fetchval(PAUSE, which.merchant_id, which.task_type, reason) is not None


async def resume(db: Connection, which: Which) -> bool:
    """End exactly this pause; False: there is none. `unpark` follows, in transactions of its own."""
    return await db.fetchval(END_PAUSE, which.merchant_id, which.task_type) is not None


async def pauses(db: Connection, merchant_id: str | None = None) -> list[Pause]:
    """The pauses in force, or one merchant's."""
    return [Pause(**row) for row in await db.fetch(LIST_PAUSES, merchant_id)]


async def unpark(db: Connection, limit: int = BATCH) -> int:
    """Put at most `limit` tasks that no pause covers any more back into the lanes; how many."""
    return len(await db.fetch(UNPARK, limit))


async def cancel(db: Connection, which: Which, why: str, limit: int = BATCH) -> int:
    """Cancel at most `limit` pending tasks; how many."""
    return len(await db.fetch(CANCEL, which.merchant_id, which.task_type, why, limit))


async def revive(db: Connection, which: Which, limit: int = BATCH) -> int:
    """Make at most `limit` dead tasks pending, due now, with all their attempts; how many."""
    return len(await db.fetch(REVIVE, which.merchant_id, which.task_type, limit))
