"""Limits on how many tasks may run at a time, of one merchant and in all, over all workers.

The running rows are counted; there is no other counter, so nothing leaks when a worker dies. So claims under a limit
are made one after the other (a lock until the commit). Without limits, claims pay nothing for this.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from shared.database import Connection
from shared.queue import tasks
from shared.queue.lanes import Lanes
from shared.queue.tasks import Task

# A task over the limit is due again after this long for each limit's worth of tasks before it, up to the longest delay.
_STEP_SECONDS = 0.25
_LONGEST_SECONDS = 5.0

ONE_CLAIM_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('citadel claims under a limit', 0))"

RUNNING_BY_MERCHANT = "SELECT merchant_id, count(*) AS running FROM scheduled_tasks WHERE status = 'running' GROUP BY 1"


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """None is no limit."""

    of_merchant: int | None = None
    in_all: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.of_merchant is not None or self.in_all is not None


NO_LIMITS = TaskLimits()


async def claim_within(
    db: Connection, limits: TaskLimits, worker: str, limit: int, lease: timedelta, lanes: Lanes
) -> list[Task]:
    """As `tasks.claim`, in the caller's transaction, and never more than the limits allow; the rest is postponed."""
    await db.execute(ONE_CLAIM_AT_A_TIME)
    running = Counter({row["merchant_id"]: row["running"] for row in await db.fetch(RUNNING_BY_MERCHANT)})
    room = limit if limits.in_all is None else min(limit, limits.in_all - running.total())
    if room <= 0:
        return []
    kept: list[Task] = []
    over: list[tasks.End] = []
    for task in await tasks.claim(db, worker, room, lease, lanes):
        running[task.merchant_id] += 1
        place = running[task.merchant_id]
        if limits.of_merchant is None or place <= limits.of_merchant:
            kept.append(task)
            continue
        delay = min(_STEP_SECONDS * ((place - 1) // limits.of_merchant), _LONGEST_SECONDS)
        over.append(tasks.to_postpone(task, timedelta(seconds=delay), "waits for others of its merchant"))
    if over:
        await tasks.end_many(db, over)
    return kept
