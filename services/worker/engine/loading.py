"""The first phase, several tasks in one transaction."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.worker.batching import Batcher
from services.worker.engine import store
from services.worker.errors import LeaseLost
from services.worker.handler import AnyHandler, Job
from shared.database import Connection, Database, DatabaseAway
from shared.queue import tasks

# A loading transaction holds the locks of all its tasks' recoveries: few together, so that nobody waits long.
TOGETHER = 16
AT_ONCE = 2


@dataclass(slots=True)
class _Load:
    handler: AnyHandler
    job: Job[Any]
    plan: asyncio.Future[Any]


class Loader:
    """Loads tasks; those that ask at the same time share a transaction. If it fails, each is loaded alone.

    A handler that loads alone is loaded after the others.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher = Batcher(self._together, most=TOGETHER, parallel=AT_ONCE)

    async def run(self) -> None:
        """Load until cancelled."""
        await self._batcher.run()

    async def load(self, handler: AnyHandler, job: Job[Any]) -> Any:
        """The handler's plan for the task, after the commit. Raises what `load` raises, and DatabaseAway."""
        plan: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._batcher.add(_Load(handler, job, plan))
        return await plan

    async def _together(self, loads: list[_Load]) -> None:
        asked = [load for load in loads if not load.plan.cancelled()]
        await self._shared([load for load in asked if not load.handler.loads_alone])
        for load in asked:
            if load.handler.loads_alone:
                await self._alone(load)

    async def _shared(self, wanted: list[_Load]) -> None:
        if len(wanted) > 1:
            wanted.sort(key=lambda load: str(load.job.recovery_id or ""))
            try:
                async with self._database.transaction() as db:
                    held = await _lock(db, wanted)
                    plans = [await load.handler.load(db, load.job) for load in held]
            except DatabaseAway as error:
                for load in wanted:
                    _fail(load, error)
                return
            except Exception:  # noqa: BLE001, S110 - one of them failed: each is repeated alone and says what is wrong
                pass
            else:
                for load, plan in zip(held, plans, strict=True):
                    _succeed(load, plan)
                return
        for load in wanted:
            await self._alone(load)

    async def _alone(self, load: _Load) -> None:
        if load.plan.done():
            return
        try:
            async with self._database.transaction() as db:
                held = await _lock(db, [load])
                plans = [await each.handler.load(db, each.job) for each in held]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the asking run's to judge
            _fail(load, error)
        else:
            for plan in plans:
                _succeed(load, plan)


async def _lock(db: Connection, loads: Sequence[_Load]) -> list[_Load]:
    """Lock the recoveries; returns the loads whose task is still held after that. The others fail."""
    await store.lock_recoveries(
        db,
        [load.job.recovery_id for load in loads if load.job.recovery_id],
        [load.job.recovery_id for load in loads if load.job.recovery_id and load.handler.locks_customer],
    )
    kept = await tasks.held(db, [load.job.claimed for load in loads])
    for load in loads:
        if load.job.claimed.id not in kept:
            _fail(load, LeaseLost())
    return [load for load in loads if load.job.claimed.id in kept]


def _succeed(load: _Load, plan: Any) -> None:
    if not load.plan.done():
        load.plan.set_result(plan)


def _fail(load: _Load, error: Exception) -> None:
    if not load.plan.done():
        load.plan.set_exception(error)
