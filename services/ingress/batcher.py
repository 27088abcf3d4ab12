"""Group commit: whatever came while the last commit ran is committed together, with one flush to the disk.

    accept ──> backlog ──> writer: one transaction for up to `batch` events ──> each its answer
                  │             │ refused, or a lock not given at once: split in halves, so that one
                  │             │ bad event fails alone and one that waits lets its neighbours go
                  │             └ needs rows that others hold: a transaction of its own
                  └ full: IntakeBusy at once

Nothing is decided or kept here: an event is answered after its commit and never before, and one that is lost with
the process was not answered. There is no timer: an idle committer commits at once. The batch is taken when its
transaction has begun, so that what comes during the way to the database still joins it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import Counter, Histogram

from shared.database import Connection, Database, DatabaseAway
from shared.logging import get_logger

log = get_logger(__name__)

E = TypeVar("E")
A = TypeVar("A")

_BATCH = Histogram("citadel_ingress_batch_events", "Events in one commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256))
_SPLIT = Counter("citadel_ingress_batches_split_total", "Batches that were refused as a whole and split")

# A batch waits for a lock no longer than this; the event that needs it waits by itself, with the usual patience.
PATIENCE = "SET LOCAL lock_timeout = '200ms'"


class IntakeBusy(Exception):
    """The event could not be committed in time, and was not. Stripe sends it again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`batch` events at most in one commit, `backlog` at most waiting for theirs.

    `writers` batches are under way at once, beside `alone` single events. Together they stay below the pool's size.
    """

    batch: int = 256
    backlog: int = 1024
    writers: int = 2
    alone: int = 6


@dataclass(slots=True, eq=False)
class _Waiting(Generic[E, A]):
    event: E
    answer: "asyncio.Future[A]"


class EventBatcher(Generic[E, A]):
    """Commits events in batches. `run` must be running; it ends by `close`, after the last event was answered.

    `together` takes a batch in one transaction and gives an answer for each, None for those that want one of their
    own; `alone` takes a single event, and makes its own transaction.
    """

    def __init__(
        self,
        database: Database,
        together: Callable[[Connection, Sequence[E]], Awaitable[list[A | None]]],
        alone: Callable[[E], Awaitable[A]],
        limits: Limits,
    ) -> None:
        self._database = database
        self._together = together
        self._alone_takes = alone
        self._limits = limits
        self._backlog: deque[_Waiting[E, A]] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._places = asyncio.Semaphore(limits.alone)
        self._alone_waiting = 0

    async def accept(self, event: E) -> A:
        """The answer, after the commit. A caller that is cancelled meanwhile does not undo it.

        Raises IntakeBusy at once when too many are waiting, DatabaseAway, or what refused this very event.
        """
        if self._closing or len(self._backlog) + self._alone_waiting >= self._limits.backlog:
            raise IntakeBusy("too many events are waiting for their commit")
        waiting: _Waiting[E, A] = _Waiting(event, asyncio.get_running_loop().create_future())
        self._backlog.append(waiting)
        self._arrived.set()
        return await waiting.answer

    def close(self) -> None:
        """Take nothing more; `run` ends when what was taken is answered."""
        self._closing = True
        self._arrived.set()

    async def run(self) -> None:
        """Commit until closed."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._limits.writers):
                group.create_task(self._write(group), name=f"writer-{number}")

    async def _write(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._arrived.wait()
            if self._backlog:
                await self._commit(None, group)
            elif self._closing:
                return
            else:
                self._arrived.clear()

    def _take(self) -> list[_Waiting[E, A]]:
        return [self._backlog.popleft() for _ in range(min(len(self._backlog), self._limits.batch))]

    async def _commit(self, batch: list[_Waiting[E, A]] | None, group: asyncio.TaskGroup) -> None:
        """Commit a batch, the one that has gathered by then unless given, and answer it. Never raises."""
        try:
            async with self._database.transaction() as db:
                await db.execute(PATIENCE)
                if batch is None:
                    batch = self._take()
                    if not batch:
                        return  # the other writer was faster
                answers = await self._together(db, [waiting.event for waiting in batch])
        except DatabaseAway as error:
            # Whoever waits now is told now, and not after a time-out for each batch.
            for waiting in [*(batch or ()), *self._backlog]:
                _fail(waiting, error)
            self._backlog.clear()
            return
        except Exception as error:  # noqa: BLE001 - whatever one event does wrong, the others are committed
            await self._split(batch or self._take(), error, group)
            return
        _BATCH.observe(len(batch))
        for waiting, answer in zip(batch, answers, strict=True):
            if answer is None:
                self._spawn(waiting, group)
            elif not waiting.answer.done():
                waiting.answer.set_result(answer)

    async def _split(self, batch: list[_Waiting[E, A]], error: Exception, group: asyncio.TaskGroup) -> None:
        if len(batch) == 1:
            self._spawn(batch[0], group)
            return
        _SPLIT.inc()
        log.warning("batch_split", reason=type(error).__name__, events=len(batch))
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            if half:
                await self._commit(half, group)

    def _spawn(self, waiting: _Waiting[E, A], group: asyncio.TaskGroup) -> None:
        self._alone_waiting += 1
        group.create_task(self._alone(waiting))

    async def _alone(self, waiting: _Waiting[E, A]) -> None:
        try:
            async with self._places:
                answer = await self._alone_takes(waiting.event)
        except Exception as error:  # noqa: BLE001 - it is the caller's, who waits for it
            _fail(waiting, error)
        else:
            if not waiting.answer.done():
                waiting.answer.set_result(answer)
        finally:
            self._alone_waiting -= 1


def _fail(waiting: _Waiting[E, A], error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
