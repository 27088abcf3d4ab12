"""Takes events in: each is answered after its commit, and many share a commit.

`Intake.accept` takes an event without its payload. Events that only add rows, which are nearly all, are committed
together: those that open a recovery, and those that concern none. An event that changes a recovery has to lock it, and
the worker may hold that lock: so it gets a transaction of its own, and only its sender waits. `shared.events.taking`
says what is written for an event.
"""

import contextlib
from asyncio import TaskGroup
from collections.abc import AsyncIterator

from services.ingress.batcher import EventBatcher, IntakeBusy, Limits
from shared.database import Database, DatabaseBusy
from shared.events.incoming import Incoming
from shared.events.taking import Accepted, take, take_together


class Intake:
    """Accepts events while `running`."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._batcher = EventBatcher(database, take_together, self._alone, limits)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept events during the block; at its end, all accepted events are committed and answered."""
        async with TaskGroup() as group:
            group.create_task(self._batcher.run(), name="batcher")
            try:
                yield
            finally:
                self._batcher.close()

    async def accept(self, event: Incoming) -> Accepted:
        """Commit the event and its effects, once, even if the caller is cancelled. After the answer it is durable.

        Raises DatabaseAway or IntakeBusy: it was not committed (or perhaps, if the COMMIT was cut off), and is safe to
        send again.
        """
        return await self._batcher.accept(event)

    async def _alone(self, event: Incoming) -> Accepted:
        # The order of locks excludes deadlocks within the ingress, but not with other services.
        try:
            return await self._database.committed(lambda db: take(db, event))
        except DatabaseBusy as error:
            raise IntakeBusy(f"{event.event_id}: {error}") from error
