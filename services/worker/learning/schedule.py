"""When each merchant is learned from: once a day it is looked whether there is enough new, and then it gets a task.

A task takes seconds of computing, so few are queued at a time, and one after the other. Merchants take turns: those
whose last look is longest ago come first, however many recoveries the others have.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from services.worker import metrics
from services.worker.engine.periodic import Periodic
from services.worker.learning import messages_store, store
from services.worker.learning.store import Rhythm
from shared.clock import business_now
from shared.database import Connection
from shared.ids import MerchantId
from shared.pool import POOL
from shared.queue import tasks
from shared.queue.tasks import NewTask

TASK_TYPE: Final = "learn_belief"
ENOUGH: Final = 20
"""Nothing is learned from fewer recoveries."""
RHYTHM: Final = Rhythm(look=timedelta(days=1), old=timedelta(days=30), enough=ENOUGH)
EVERY: Final = timedelta(minutes=1)
LOOKED_AT: Final = 100
"""At how many merchants is looked in one run."""
QUEUED: Final = 10
"""How many tasks are queued in one run; they are due within the run's minute, one after the other."""
FORGOTTEN: Final = 500


async def queue_due(db: Connection) -> bool:
    """Queue a task for each merchant that is to be looked at and has enough new recoveries, and one for the pool.

    Returns False: who is left is looked at in the next run.
    """
    now = await business_now(db)
    wanted: list[MerchantId] = []
    looked: list[MerchantId] = []
    if await store.is_pools_look_due(db, RHYTHM):
        wanted.append(POOL)
    for look in await store.looks_due(db, RHYTHM, LOOKED_AT):
        if len(wanted) == QUEUED:
            break
        (wanted if look.enough else looked).append(look.merchant_id)
    for place, merchant_id in enumerate(wanted):
        # Where the last task is not done yet, it is looked again in the next run.
        if await tasks.enqueue(db, next_task(merchant_id, now, now + place * (EVERY / QUEUED))) is not None:
            looked.append(merchant_id)
    await store.note_look(db, looked)
    return False


async def forget_gone(db: Connection) -> bool:
    """Delete what was learned of merchants that are gone. Returns whether there may be more of them."""
    gone = await store.forget_gone(db, FORGOTTEN)
    if gone:
        metrics.PRUNED.labels("learned_beliefs").inc(gone)
    hours = await messages_store.forget_gone(db, POOL, FORGOTTEN)
    if hours:
        metrics.PRUNED.labels("learned_message_hours").inc(hours)
    return FORGOTTEN in (gone, hours)


def next_task(merchant_id: MerchantId, until: datetime, at: datetime) -> NewTask:
    """The task that learns from what happened until then, due at `at`."""
    payload = {"until": until.isoformat()}
    return NewTask(merchant_id, TASK_TYPE, payload, at, unique_key=f"{TASK_TYPE}:{merchant_id}")


LEARNING: Sequence[Periodic] = (
    Periodic("queue_learning", EVERY, queue_due),
    Periodic("forget_gone_merchants", timedelta(minutes=15), forget_gone),
)
