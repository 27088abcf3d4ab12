"""Periodic work: done once each time it is due, however many workers run.

Each worker looks at `periodic_tasks` now and then. The one that finds a row due sets its next time and does the work
in one transaction; the others skip the locked row. If the worker dies in the middle, the row is still due.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from services.worker import metrics
from services.worker.engine import store
from shared.database import Connection, Database, DatabaseAway
from shared.logging import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Periodic:
    """Work that is done once in `every`. `run` does a limited piece of it and says whether more is left."""

    name: str
    every: timedelta
    run: Callable[[Connection], Awaitable[bool]]


class PeriodicRunner:
    """Does the periodic work that is due."""

    def __init__(self, database: Database, works: Sequence[Periodic], *, look_every_seconds: float = 1.0) -> None:
        self._database = database
        self._works: Mapping[str, Periodic] = {work.name: work for work in works}
        self._look_every = look_every_seconds
        self._declared = False

    async def run(self) -> None:
        """Look and work until cancelled; wait for a database that is away."""
        while True:
            try:
                while await self.run_one():
                    pass
            except DatabaseAway as error:
                log.debug("periodic_waits", reason=str(error))
            except asyncpg.PostgresError as error:
                # Upkeep that fails must not end the worker: it is tried again when it is due next.
                log.exception("periodic_failed", sqlstate=error.sqlstate)
                await asyncio.sleep(self._look_every * 10)
            await asyncio.sleep(self._look_every)

    async def run_one(self) -> bool:
        """Do one piece of due work; whether there was any. Raises DatabaseAway."""
        if not self._declared:
            async with self._database.transaction() as db:
                await store.declare_periodic(db, [(work.name, work.every) for work in self._works.values()])
            self._declared = True
        async with self._database.transaction() as db:
            name = await store.claim_periodic(db, list(self._works))
            if name is None:
                return False
            if await self._works[name].run(db):
                await store.periodic_again(db, name)
        metrics.PERIODIC.labels(name).inc()
        return True
