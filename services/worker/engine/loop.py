"""The two-phase loop: claim a batch, and run each task as load, perform, commit.

    claim (one statement) ──> load (short transaction) ──> perform (no connection) ──> complete + effects (group commit)
                                 │                            │                            └ fence is old: none of it
                                 └────────── an error ────────┴──> retry, or dead letter

Guarantees. A task's effects commit together with its completion or not at all. A run whose lease was lost changes
nothing in the database, and nothing outside once this process's own clock says that the lease is over. While the
database is away, the loop claims nothing; claimed tasks are finished if the database comes back before their leases
end, else rescued. After `stop` no task is claimed; running ones get the grace period, and the rest is given back.

Structure. Claimed tasks wait in `_ready`. `concurrency` workers (asyncio tasks that live as long as the loop, because
creating one per task costs more than a short task) take one task after the other through load and perform, and pass it
to the `Committer`, which ends many in one commit. The loop claims a reserve in advance, a tenth of a second's work.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from services.worker import metrics
from services.worker.engine.bell import Bell
from services.worker.engine.committing import Committer, Effects, release
from services.worker.engine.loading import Loader
from services.worker.engine.quarantine import Quarantine
from services.worker.engine.reserve import Reserve
from services.worker.engine.run import Kind, Run, kinds_of
from services.worker.errors import LeaseLost, UnknownTaskType
from services.worker.handler import AnyHandler, Handlers, Job
from services.worker.outside.lease import Lease
from services.worker.outside.remote import Outside
from shared.database import Database, DatabaseAway
from shared.logging import get_logger, speaking_of
from shared.queue import tasks
from shared.queue.lanes import Lanes
from shared.queue.limits import NO_LIMITS, TaskLimits, claim_within

log = get_logger(__name__)

AWAY_PAUSE_SECONDS = (0.1, 5.0)
# A worker whose tasks never wait for anything yields to the rest of the process after so many.
BREATH = 50
# After so many claims in a row that found tasks, the worker is no longer declared idle; fewer leave it so.
BUSY_AFTER = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """How the loop runs. `batch` is the most tasks per claim; `poll` the shortest and the longest wait, in seconds."""

    concurrency: int = 32
    batch: int = 500
    lease: timedelta = timedelta(seconds=30)
    poll: tuple[float, float] = (0.025, 0.5)
    grace_seconds: float = 25.0
    limits: TaskLimits = NO_LIMITS


class Engine:
    """Claims and runs tasks until told to stop. Any number of engines share a queue."""

    def __init__(self, name: str, database: Database, handlers: Handlers, outside: Outside, pace: Pace) -> None:
        self._name = name
        self._database = database
        self._outside = outside
        self._pace = pace
        self._kinds, self._unknown = kinds_of(handlers)
        self._runs: dict[int, Run] = {}
        self._ready: deque[Run] = deque()
        self._work_there = asyncio.Event()
        self._room = asyncio.Event()
        self._lanes = Lanes()
        self._reserve = Reserve(pace.concurrency, max(pace.batch, pace.concurrency))
        self._quarantine = Quarantine()
        self._loader = Loader(database)
        self._committer = Committer(database, self._ended)
        self._bell = Bell(database, name)
        self._last_turn = time.monotonic()
        self._draw = random.Random()  # noqa: S311 - jitter, not a secret

    @property
    def seconds_since_turn(self) -> float:
        """Seconds since the loop last went round; it goes round while it waits and while the database is away, too."""
        return time.monotonic() - self._last_turn

    @property
    def running(self) -> int:
        """How many claimed tasks this engine holds."""
        return len(self._runs)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set and the last task has ended or was given back."""
        async with self._at_work(), asyncio.TaskGroup() as group:
            bell = group.create_task(self._bell.run(), name="bell")
            await self._claim_until(stop)
            await self._wind_down()
            await self._stop_waiting()
            bell.cancel()

    async def run_due(self) -> int:
        """Run due tasks, and those that these make due, until there are none; how many runs. Raises DatabaseAway."""
        count = 0
        async with self._at_work():
            while True:
                self._lanes.look_behind()
                claimed = await self._claim(self._pace.batch)
                if not claimed and not self._lanes.more:
                    return count
                count += claimed
                while self._runs:
                    self._room.clear()
                    await self._room.wait()

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        """Everything but claiming, for the life of the block."""
        group = asyncio.TaskGroup()
        async with group:
            crew = [
                group.create_task(self._renew_leases(), name="heartbeat"),
                group.create_task(self._loader.run(), name="loader"),
                group.create_task(self._committer.run(), name="committer"),
            ]
            crew += [group.create_task(self._work(), name=f"worker-{n}") for n in range(self._pace.concurrency)]
            yield
            for each in crew:
                each.cancel()

    # -- claiming --------------------------------------------------------------------------------

    async def _claim_until(self, stop: asyncio.Event) -> None:
        away, wait, streak = AWAY_PAUSE_SECONDS[0], self._pace.poll[0], 0
        while not stop.is_set():
            self._last_turn = time.monotonic()
            wanted = self._reserve.wanted(len(self._ready), len(self._runs))
            if not wanted:
                self._room.clear()
                await _first_of(stop, self._room, seconds=1.0)
                continue
            try:
                self._bell.ringing.clear()
                claimed = await self._claim(wanted)
                streak = streak + 1 if claimed else 0
                if streak == BUSY_AFTER:
                    await self._bell.busy()
                # This worker is declared idle only now: a task that came just before rang no bell, so claim again.
                again = not claimed and not self._runs and await self._bell.wait()
            except (DatabaseAway, asyncpg.PostgresError) as error:
                # Also when the server refuses (a full disk, the last moments before a failover): the loop goes on.
                metrics.DATABASE_AWAY.inc()
                log.warning("database_away", reason=type(error).__name__, again_in=round(away, 1))
                await _first_of(stop, seconds=away * self._draw.uniform(0.5, 1))
                away = min(away * 2, AWAY_PAUSE_SECONDS[1])
                continue
            away = AWAY_PAUSE_SECONDS[0]
            if self._lanes.more or again:
                wait = self._pace.poll[0]
                continue  # as soon as there is room
            wait = self._next_wait(wait, claimed)
            await _first_of(stop, self._bell.ringing, seconds=wait)

    def _next_wait(self, before: float, claimed: int) -> float:
        """How long to wait for work; a worker that hears the bell need not poll often."""
        shortest, longest = self._pace.poll
        if claimed:
            return shortest
        if self._bell.heard and not self._runs:
            return longest
        return min(before * 1.5, longest)

    async def _claim(self, limit: int) -> int:
        """Claim up to `limit` tasks and pass them on to be run; how many."""
        sent_at = time.monotonic()
        limits, lease = self._pace.limits, self._pace.lease
        try:
            if limits.any:
                async with self._database.transaction() as db:
                    claimed = await claim_within(db, limits, self._name, limit, lease, self._lanes)
            else:
                async with self._database.statement() as db:
                    claimed = await tasks.claim(db, self._name, limit, lease, self._lanes)
        except asyncpg.UniqueViolationError:
            return 0  # another worker took a task of the same recovery first: the next claim sees that
        kinds: dict[Kind, int] = {}
        for task in claimed:
            kind = self._kinds.get(task.task_type, self._unknown)
            run = Run(task, kind, Lease(self._pace.lease, sent_at), sent_at)
            before = self._runs.get(task.id)
            if before is not None:
                self._lose(before)  # this worker held it before, and it was rescued
            self._runs[task.id] = run
            kinds[kind] = kinds.get(kind, 0) + 1
            if task.rescues and not self._quarantine.admits(run):
                self._committer.put_back(run, self._quarantine.delay(run), "waits for others that were rescued with it")
            else:
                self._ready.append(run)
        for kind, count in kinds.items():
            kind.claimed.inc(count)
        self._reserve.claimed(len(claimed), limit)
        metrics.RUNNING.set(len(self._runs))
        if self._ready:
            self._work_there.set()
        return len(claimed)

    # -- one task --------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Take one task after the other through its run."""
        me, since_breath = asyncio.current_task(), 0
        while True:
            if not self._ready:
                self._work_there.clear()
                await self._work_there.wait()
                since_breath = 0
                continue
            run = self._ready.popleft()
            if run.lost:
                self._committer.lose(run)
                continue
            self._reserve.started(run.age)
            if not self._ready or len(self._ready) == self._reserve.low:
                self._room.set()
            run.worker = me
            speaking_of(run.ids)
            await self._try(run)
            run.worker = None
            since_breath += 1
            if since_breath >= BREATH:
                since_breath = 0
                await asyncio.sleep(0)

    async def _try(self, run: Run) -> None:
        """Take one run to its end, or to the committer. Raises CancelledError only when this worker is to end."""
        try:
            handler = run.kind.handler
            if handler is None:
                raise UnknownTaskType(run.task.task_type)
            await self._perform(run, handler, handler.understand(run.task))
        except asyncio.CancelledError:
            if not run.lost:
                raise
            self._committer.lose(run)
        except LeaseLost:
            self._committer.lose(run)
        except Exception as error:  # noqa: BLE001 - whatever one task does wrong, the loop goes on
            self._committer.fail(run, error)
        # A lost run's cancel is over with the run, however that ended. One that is left was meant for this worker: two
        # cancels may come as one error.
        if run.lost and run.worker is not None and run.worker.uncancel():
            raise asyncio.CancelledError

    async def _perform(self, run: Run, handler: AnyHandler, job: Job[Any]) -> None:
        for name in handler.calls:
            self._outside.circuits.check(name)
        plan = await self._loader.load(handler, job) if run.kind.loads else job.payload
        outcome = await handler.perform(self._outside.remote(run.lease), plan)
        if run.kind.commits:
            self._committer.commit(Effects(run, handler, job, outcome))
        else:
            self._committer.complete(run)

    def _ended(self, run: Run) -> None:
        # Only this run's entry: the same task may have been claimed again while this run was ending.
        if self._runs.get(run.task.id) is run:
            del self._runs[run.task.id]
        if run.task.rescues:
            self._quarantine.ended(run)
        run.kind.seconds.observe(run.age)
        if len(self._runs) <= self._reserve.low:
            self._room.set()
            metrics.RUNNING.set(len(self._runs))

    # -- leases ----------------------------------------------------------------------------------

    async def _renew_leases(self) -> None:
        """Every third of a lease, renew the leases of all held tasks; stop the work on those that were lost."""
        while True:
            await asyncio.sleep(self._pace.lease.total_seconds() / 3)
            held = list(self._runs.values())
            if not held:
                continue
            sent_at = time.monotonic()
            try:
                async with self._database.statement() as db:
                    kept = await tasks.renew(db, [run.task for run in held], self._pace.lease)
            except (DatabaseAway, asyncpg.PostgresError) as error:
                log.warning("leases_not_renewed", reason=type(error).__name__, tasks=len(held))
                continue
            for run in held:
                if run.task.id in kept:
                    run.lease.renewed(sent_at)
                elif self._runs.get(run.task.id) is run:
                    self._lose(run)

    def _lose(self, run: Run) -> None:
        """Stop the work on a task that another run has; a run that is already ending learns it by its fence."""
        if run.ending or run.lost:
            return
        run.lost = True
        if run.worker is not None:
            run.worker.cancel()

    # -- the end ---------------------------------------------------------------------------------

    async def _wind_down(self) -> None:
        """Give back tasks that were not begun; running ones get the grace period, and are given back after it."""
        unbegun, self._ready = list(self._ready), deque()
        await self._release(unbegun)
        if self._runs:
            log.info("finishing", tasks=len(self._runs))
        try:
            async with asyncio.timeout(self._pace.grace_seconds):
                while self._runs:
                    self._room.clear()
                    await _first_of(self._room, seconds=0.05)
        except TimeoutError:
            left = list(self._runs.values())
            for run in left:
                self._lose(run)
            await self._release(left)

    async def _release(self, left: list[Run]) -> None:
        """Give tasks back for another worker to take at once; where that fails, their leases run out."""
        if not left:
            return
        try:
            released = await release(self._database, [run.task for run in left])
        except (DatabaseAway, asyncpg.PostgresError) as error:
            log.warning("not_released", reason=type(error).__name__, tasks=len(left))
            return
        for run in left:
            if run.task.id in released:
                metrics.RELEASED.labels(run.kind.label).inc()
            if self._runs.get(run.task.id) is run:
                del self._runs[run.task.id]
        log.info("released", tasks=len(released))

    async def _stop_waiting(self) -> None:
        try:
            await self._bell.busy()
        except (DatabaseAway, asyncpg.PostgresError) as error:
            log.debug("still_declared_idle", reason=type(error).__name__)


async def _first_of(*events: asyncio.Event, seconds: float) -> None:
    """Wait until one of the events is set, `seconds` at most."""
    if any(event.is_set() for event in events):
        await asyncio.sleep(0)
        return
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
