"""Tasks that are queued: found, brought forward and canceled by their unique key, their recovery or their merchant.

In the caller's transaction. A running task is never touched; an operator's commands are in `control`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.database import Connection
from shared.ids import MerchantId, RecoveryId

# A task that is due already keeps its time.
BRING_FORWARD = """
UPDATE scheduled_tasks
SET run_at = citadel_now()
WHERE unique_key = $1 AND status = 'pending' AND run_at > citadel_now()
RETURNING id
"""

FIND = "SELECT run_at, payload, attempts FROM scheduled_tasks WHERE unique_key = $1 AND status = 'pending'"

RUNS = "SELECT EXISTS (SELECT FROM scheduled_tasks WHERE unique_key = $1 AND status = 'running')"

CANCEL = """
UPDATE scheduled_tasks
SET status = 'canceled', finished_at = citadel_now(), last_error = $2
WHERE unique_key = $1 AND status = 'pending'
RETURNING id
"""

CANCEL_OF_RECOVERY = """
UPDATE scheduled_tasks
SET status = 'canceled', finished_at = citadel_now(), last_error = $2
WHERE recovery_id = $1 AND status = 'pending' AND ($3::text IS NULL OR task_type = $3)
RETURNING id
"""

CANCEL_OF_MERCHANT = """
UPDATE scheduled_tasks
SET status = 'canceled', finished_at = citadel_now(), last_error = $2
WHERE merchant_id = $1 AND status = 'pending'
RETURNING id
"""


async def bring_forward(db: Connection, unique_key: str) -> bool:
    """Make the pending task with this key due now. False: there is no pending one that is due later."""
    return await db.fetchval(BRING_FORWARD, unique_key) is not None


@dataclass(frozen=True, slots=True)
class Queued:
    """A pending task: when it is due, its payload, and how often it was tried."""

    run_at: datetime
    payload: dict[str, Any]
    tries: int


async def find(db: Connection, unique_key: str) -> Queued | None:
    """The pending task with this key; None when there is none."""
    row = await db.fetchrow(FIND, unique_key)
    return None if row is None else Queued(row["run_at"], row["payload"], row["attempts"])


async def runs(db: Connection, unique_key: str) -> bool:
    """Whether the task with this key is running."""
    running: bool = await db.fetchval(RUNS, unique_key)
    return running


async def cancel(db: Connection, unique_key: str, why: str) -> bool:
    """Cancel the pending task with this key; whether there was one."""
    return await db.fetchval(CANCEL, unique_key, why) is not None


async def cancel_of_recovery(db: Connection, recovery_id: RecoveryId, why: str, task_type: str | None = None) -> int:
    """Cancel every pending task of one recovery, or those of one type; how many. A running one goes on."""
    return len(await db.fetch(CANCEL_OF_RECOVERY, recovery_id, why, task_type))


async def cancel_of_merchant(db: Connection, merchant_id: MerchantId, why: str) -> int:
    """Cancel every pending task of one merchant; how many."""
    return len(await db.fetch(CANCEL_OF_MERCHANT, merchant_id, why))
