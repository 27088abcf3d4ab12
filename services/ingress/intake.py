"""Taking events in at the pace of the disk: each is answered after its commit, and many share one.

`Intake.accept` takes an event without its payload. Events that only add rows, which is nearly all, are committed
together: those that open a recovery, and those that concern none. An event that changes a recovery has to lock it, and
the worker may be holding it: it gets a transaction of its own, so that nobody waits for it but its sender. What is
written for an event is said in `shared.events.taking`.
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
        """Accept events during the block; at its end, what was taken is committed and answered."""
        async with TaskGroup() as group:
            group.create_task(self._batcher.run(), name="committer")
            try:
                yield
            finally:
                self._batcher.close()

    async def accept(self, event: Incoming) -> Accepted:
        """Commit the event and its effects, once. After the answer it is durable; a caller that is cancelled does not
        undo it.

        Raises DatabaseAway or IntakeBusy: it may not be committed (a COMMIT cut off in the middle may be), and is
        safe to send again.
        """
        return await self._batcher.accept(event)

    async def _alone(self, event: Incoming) -> Accepted:
        # The order of locks keeps the ingress from deadlocks with itself; another service's order is not ours to prove.
        try:
            return await self._database.committed(lambda db: take(db, event))
        except DatabaseBusy as error:
            raise IntakeBusy(f"{event.event_id}: {error}") from error
