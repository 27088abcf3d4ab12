"""Upkeep: tasks of workers that died, rows past their retention, and recoveries that lost their task.

The rescue runs in every worker, because it saves the tasks of the others when they die. The rest is periodic work,
which one worker does for all.
"""

import asyncio
from datetime import timedelta
from functools import partial

import asyncpg

from services.worker import metrics
from services.worker.engine import store
from services.worker.engine.periodic import Periodic
from services.worker.handler import Handlers
from shared import recovery_tasks
from shared.clock import business_now
from shared.database import Connection, Database, DatabaseAway
from shared.logging import get_logger
from shared.merchant_tasks import DIGEST, digest_at
from shared.queue import control, tasks
from shared.queue.tasks import TaskStatus

log = get_logger(__name__)

BATCH = 1_000
# A worker that dies also leaves the tasks of its reserve: they are rescued in transactions of this size.
RESCUE_BATCH = 500
# Stripe lists events, and so may repeat them, for 30 days: https://docs.stripe.com/api/events
RETENTION = {
    "processed_events": timedelta(days=35),
    "scheduled_tasks": timedelta(days=30),
    # Of charges that nobody has booked as recovered: a charge is booked within days of the payment, and is refunded or
    # disputed after it.
    "money_back": timedelta(days=90),
    # A debit's failure comes within weeks; a draft is finalized by then, or never.
    "collection_turned_off": timedelta(days=90),
    "oauth_states": timedelta(hours=1),
    "idempotency_keys": timedelta(days=7),
    "left_alone": timedelta(days=30),
}
WEEK = timedelta(days=7)
A_DAY_AFTER_DEATH = timedelta(days=1)


def rescue_every(lease_seconds: float) -> float:
    """How often leases are looked at, in seconds.

    The tasks of a dead worker start elsewhere within a lease and 5 s: at most this long until they are found, a second
    of delay (`RESCUE` in shared/queue/tasks.py; more for one that was rescued before), and the polling interval.
    """
    return min(3.0, lease_seconds / 3)


class Rescuer:
    """Puts back tasks whose lease ran out, every `every_seconds` (real time)."""

    def __init__(self, database: Database, handlers: Handlers, every_seconds: float) -> None:
        self._database = database
        self._handlers = handlers
        self._every = every_seconds

    async def run(self) -> None:
        """Rescue until cancelled; wait for a database that is away."""
        while True:
            try:
                await self.rescue()
            except (DatabaseAway, asyncpg.PostgresError) as error:
                log.warning("rescue_waits", reason=type(error).__name__)
            await asyncio.sleep(self._every)

    async def rescue(self) -> int:
        """Rescue all tasks whose lease has run out; how many."""
        count = 0
        while True:
            rescued = await self._rescue_batch()
            count += rescued
            if rescued < RESCUE_BATCH:
                return count

    async def _rescue_batch(self) -> int:
        async with self._database.transaction() as db:
            rescued = await tasks.rescue(db, RESCUE_BATCH)
        for task_id, task_type, status in rescued:
            label = task_type if task_type in self._handlers else "unknown"
            metrics.RESCUED.labels(label).inc()
            if status is TaskStatus.DEAD:
                metrics.DEAD.labels(label).inc()
            log.warning("task_rescued", row=task_id, task_type=task_type, now=status)
        return len(rescued)


async def prune(db: Connection, *, table: str) -> bool:
    """Delete one batch of rows that are past their retention; whether there may be more."""
    pruned = await store.prune(db, table, RETENTION[table], BATCH)
    if pruned:
        metrics.PRUNED.labels(table).inc(pruned)
        log.info("pruned", table=table, rows=pruned)
    return pruned == BATCH


async def sweep_recoveries(db: Connection) -> bool:
    """Queue a task for every open recovery that has none: a lost task is a delay and never a loss.

    One whose evaluation died gets another one a day: nothing is forgotten, and a fault is not run into all the time.
    """
    lost = await store.lost_recoveries(db, BATCH, A_DAY_AFTER_DEATH)
    for recovery in lost:
        if await recovery_tasks.evaluate_now(db, recovery.merchant_id, recovery.id, recovery.invoice_id):
            if recovery.dead:
                metrics.DEAD_RECOVERIES.inc()
            metrics.SWEPT.labels(recovery_tasks.EVALUATE).inc()
            log.warning("recovery_without_task", recovery_id=str(recovery.id), died=recovery.dead)
    return len(lost) == BATCH


async def sweep_digests(db: Connection) -> bool:
    """Queue a digest, a week from now, for every active merchant that has none queued."""
    lost = await store.lost_digests(db, BATCH)
    run_at = await business_now(db) + WEEK
    for merchant_id in lost:
        await digest_at(db, merchant_id, run_at)
        metrics.SWEPT.labels(DIGEST).inc()
    return len(lost) == BATCH


async def unpark(db: Connection) -> bool:
    """Unpark tasks whose pause has ended: a resume that died halfway is a delay and no loss."""
    return await control.unpark(db, BATCH) == BATCH


UPKEEP = (
    *(Periodic(f"prune_{table}", timedelta(minutes=15), partial(prune, table=table)) for table in RETENTION),
    Periodic("unpark", timedelta(seconds=30), unpark),
    Periodic("sweep_recoveries", timedelta(minutes=2), sweep_recoveries),
    Periodic("sweep_digests", timedelta(hours=1), sweep_digests),
)
