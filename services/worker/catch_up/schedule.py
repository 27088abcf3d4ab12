"""When each merchant is caught up: its next time is in `catch_ups`, and a merchant that is due gets a task."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from services.worker.catch_up import store
from services.worker.engine.periodic import Periodic
from shared.database import Connection
from shared.ids import MerchantId
from shared.queue import tasks
from shared.queue.tasks import NewTask

TASK_TYPE = "catch_up"
AT_ONCE = 500


def catching_up(every: timedelta) -> Sequence[Periodic]:
    """The periodic work that catches every merchant up once in `every`."""
    return (
        Periodic("queue_catch_ups", timedelta(minutes=1), partial(queue_due, every=every)),
        Periodic("sweep_catch_ups", timedelta(hours=1), partial(sweep, every=every)),
    )


async def queue_due(db: Connection, *, every: timedelta) -> bool:
    """Queue a task for each merchant that is due, unless it has one. Returns whether more may be due."""
    moved, wanted = await store.take_turns(db, every, AT_ONCE)
    for merchant_id in wanted:
        await tasks.enqueue(db, next_task(merchant_id))
    return moved == AT_ONCE


async def sweep(db: Connection, *, every: timedelta) -> bool:
    """Give merchants without a row in `catch_ups` one. Returns whether there may be more of them."""
    return await store.add_missing(db, every, AT_ONCE) == AT_ONCE


def next_task(merchant_id: MerchantId) -> NewTask:
    """The task that makes a merchant's next step, due now."""
    return NewTask(merchant_id, TASK_TYPE, unique_key=f"{TASK_TYPE}:{merchant_id}")
