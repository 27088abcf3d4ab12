"""Looking, learning, and what is kept: the steps of the tests of learning."""

from datetime import datetime
from typing import Any

from services.worker.learning import store
from services.worker.learning.schedule import next_task, queue_due
from services.worker.recovery import DeclineCause
from services.worker.recovery.belief.document import read_document
from services.worker.recovery.belief.learning import Outcome
from services.worker.recovery.outcomes import outcomes_of
from shared.clock import business_now
from shared.ids import MerchantId
from shared.queue import tasks
from tests.integration.worker.world import World

FUNDS = DeclineCause.INSUFFICIENT_FUNDS


async def queue(world: World) -> list[MerchantId]:
    """Look whose turn it is; who has a task then, those that are due first at the front."""
    async with world.worker.transaction() as db:
        await queue_due(db)
    rows = await world.rows(
        "SELECT merchant_id FROM scheduled_tasks "
        "WHERE task_type = 'learn_belief' AND status = 'pending' ORDER BY run_at"
    )
    return [row["merchant_id"] for row in rows]


async def learn_now(world: World, *merchants: MerchantId, until: datetime | None = None) -> None:
    """Learn from these merchants' recoveries, until now unless it is said."""
    async with world.worker.transaction() as db:
        at = await business_now(db)
        for merchant_id in merchants:
            await tasks.enqueue(db, next_task(merchant_id, until or at, at))
    await world.work()
    done = "SELECT count(*) FROM scheduled_tasks WHERE task_type = 'learn_belief' AND status <> 'succeeded'"
    assert await world.value(done) == 0


async def leave(world: World, merchant_id: MerchantId) -> None:
    """The merchant disconnects."""
    await world.execute(
        "UPDATE merchants SET status = 'disconnected', access_token = NULL, refresh_token = NULL WHERE id = $1::uuid",
        merchant_id,
    )


async def kept(world: World, merchant_id: MerchantId) -> Any:
    """The row of what was learned; None without one."""
    rows = await world.rows("SELECT * FROM learned_beliefs WHERE merchant_id = $1", merchant_id)
    return rows[0] if rows else None


async def outcomes(world: World, merchant_id: MerchantId, until: datetime) -> list[Outcome]:
    """What is learned from."""
    async with world.worker.transaction() as db:
        return [each for _, each in outcomes_of(await store.attempts_of(db, merchant_id, until))]


def payday(document: Any, day: int) -> float:
    """How many of those who wait for wages are believed to be paid on this day or beside it."""
    return sum(read_document(document).everywhere.paydays[f"day_{each}"] for each in (day - 1, day, day + 1))
