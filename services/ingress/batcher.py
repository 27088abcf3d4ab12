"""Group commit: events that arrived during the last commit are committed together, with one flush to the disk.

    accept ──> backlog ──> writer: one transaction for up to `batch` events ──> each its answer
                  │             │ refused, or a lock not got at once: split in halves, so that one bad
                  │             │ event fails alone, and one that waits for a lock waits alone
                  │             └ has to lock a recovery: a transaction of its own
                  └ full: IntakeBusy at once

An event is answered after its commit and never before, so an event that is lost with the process was not answered.
There is no timer: an idle ingress commits at once. The batch is taken when its transaction has begun, so that events
that arrive during the round trip of BEGIN still join it.
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

# A batch waits for a lock no longer than this; the event that needs the lock then waits alone, with the usual time-out.
PATIENCE = "SET LOCAL lock_timeout = '200ms'"


class IntakeBusy(Exception):
    """The event was not committed in time. Stripe sends it again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `batch` events share a commit, and at most `backlog` wait.

    `writers` batches and `alone` single events may be in progress at once; together fewer than the pool's size.
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
    """Commits events in batches. `run` must be running; after `close` it ends when the last event was answered.

    `together` takes a batch in one transaction and gives an answer for each event, None for those that need a
    transaction of their own; `alone` takes a single event, and makes its own transaction.
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
        """The answer, after the commit, which happens even if the caller is cancelled.

        Raises IntakeBusy at once when too many wait, DatabaseAway, or the error with which this event was refused.
        """
        if self._closing or len(self._backlog) + self._alone_waiting >= self._limits.backlog:
            raise IntakeBusy("too many events are waiting for their commit")
        waiting: _Waiting[E, A] = _Waiting(event, asyncio.get_running_loop().create_future())
        self._backlog.append(waiting)
        self._arrived.set()
        return await waiting.answer

    def close(self) -> None:
        """Accept nothing more; `run` ends when the accepted events are answered."""
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
        """Commit and answer a batch: the given one, else the events that have arrived by then. Never raises."""
        try:
            async with self._database.transaction() as db:
                await db.execute(PATIENCE)
                if batch is None:
                    batch = self._take()
                    if not batch:
                        return  # the other writer was faster
                answers = await self._together(db, [waiting.event for waiting in batch])
        except DatabaseAway as error:
            # Answer all that wait now, instead of each batch after a time-out of its own.
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
