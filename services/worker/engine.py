"""The two-phase loop: claim a batch, and run each task as load, perform, commit.

    claim (commit) ──> load (short transaction) ──> perform (no connection) ──> complete + effects (one transaction)
                          │                            │                            └ fence is old: all rolled back
                          └────────── an error ────────┴──> retry, or dead letter

Guarantees. A task's effects commit together with its completion or not at all. A run whose lease was lost changes
nothing in the database, and nothing outside once its own clock says so. A database that goes away stops the loop for
as long as it is away: what was claimed is finished when it comes back in time, else rescued. After `stop` no task is
claimed; running ones have the grace period, and what is left is given back.
"""

import asyncio
import random
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg

from services.worker import metrics, store
from services.worker.errors import LeaseLost, UnknownTaskType, judge
from services.worker.handler import AnyHandler, Handlers
from services.worker.lease import Lease
from services.worker.remote import Outside
from shared import tasks
from shared.database import Connection, Database, DatabaseAway
from shared.logging import bound, get_logger
from shared.tasks import Task

log = get_logger(__name__)

# A commit is repeated while the task is still ours: the outcome of a call that was made must not be dropped lightly.
COMMIT_AGAIN_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
BUSY = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError, asyncpg.SerializationError)
AWAY_PAUSE_SECONDS = (0.1, 5.0)
# A task that is not to blame comes back after this long, give or take a half.
BLAMELESS_DELAY = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Pace:
    """How the loop runs. `poll` is the shortest and the longest wait for work, in seconds."""

    concurrency: int = 32
    batch: int = 32
    lease: timedelta = timedelta(seconds=30)
    poll: tuple[float, float] = (0.025, 0.25)
    grace_seconds: float = 25.0


@dataclass(slots=True, eq=False)
class _Run:
    """One task in this worker's hands."""

    task: Task
    lease: Lease
    started: float
    runner: asyncio.Task[None] | None = None
    committing: bool = False
    lost: bool = field(default=False)


class Engine:
    """Claims and runs tasks until told to stop. Any number of engines share a queue."""

    def __init__(self, name: str, database: Database, handlers: Handlers, outside: Outside, pace: Pace) -> None:
        self._name = name
        self._database = database
        self._handlers = handlers
        self._outside = outside
        self._pace = pace
        self._runs: dict[int, _Run] = {}
        self._freed = asyncio.Event()
        self._worth_claiming = max(1, min(pace.batch, pace.concurrency) // 4)
        self._last_turn = time.monotonic()
        self._draw = random.Random()  # noqa: S311 - jitter, not a secret

    @property
    def seconds_since_turn(self) -> float:
        """How long ago the loop last went round; it does so while it waits, and while the database is away."""
        return time.monotonic() - self._last_turn

    @property
    def running(self) -> int:
        """How many tasks are in its hands."""
        return len(self._runs)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set and the last task has ended or was given back."""
        async with asyncio.TaskGroup() as group:
            heartbeat = group.create_task(self._renew_leases(), name="heartbeat")
            await self._claim_until(stop, group)
            await self._wind_down()
            heartbeat.cancel()

    async def run_due(self) -> int:
        """Run what is due, and what becomes due by that, until nothing is; how many runs. Raises DatabaseAway."""
        count = 0
        while claimed := await self._claim(self._pace.batch):
            async with asyncio.TaskGroup() as group:
                for run in claimed:
                    run.runner = group.create_task(self._run(run))
            count += len(claimed)
        return count

    # -- claiming --------------------------------------------------------------------------------

    async def _claim_until(self, stop: asyncio.Event, group: asyncio.TaskGroup) -> None:
        shortest, longest = self._pace.poll
        wait, away, waited = shortest, AWAY_PAUSE_SECONDS[0], False
        while not stop.is_set():
            self._last_turn = time.monotonic()
            self._freed.clear()
            free = min(self._pace.concurrency - len(self._runs), self._pace.batch)
            if free < self._worth_claiming and not waited:
                # A batch costs one commit however small it is: let a few places come together, but not for long.
                await _first_of(stop, self._freed, seconds=shortest if free else 1.0)
                waited = free > 0
                continue
            waited = False
            try:
                claimed = await self._claim(free)
            except (DatabaseAway, asyncpg.PostgresError) as error:
                # Also what the server refuses (a full disk, a failover's last moments): the loop outlives it.
                metrics.DATABASE_AWAY.inc()
                log.warning("database_away", reason=type(error).__name__, again_in=round(away, 1))
                await _first_of(stop, seconds=away * self._draw.uniform(0.5, 1))
                away = min(away * 2, AWAY_PAUSE_SECONDS[1])
                continue
            away = AWAY_PAUSE_SECONDS[0]
            for run in claimed:
                run.runner = group.create_task(self._run(run), name=f"task-{run.task.id}")
            if len(claimed) == free:
                wait = shortest  # there may be more: look again as soon as there is room
                continue
            wait = shortest if claimed else min(wait * 1.5, longest)
            await _first_of(stop, seconds=wait)

    async def _claim(self, limit: int) -> list[_Run]:
        sent_at = time.monotonic()
        async with self._database.transaction() as db:
            claimed = await tasks.claim(db, self._name, limit, self._pace.lease)
        runs = [_Run(task, Lease(self._pace.lease, sent_at), sent_at) for task in claimed]
        for run in runs:
            before = self._runs.get(run.task.id)
            if before is not None:
                self._lose(before)  # it was rescued from this very worker
            self._runs[run.task.id] = run
            metrics.CLAIMED.labels(self._label(run.task)).inc()
        metrics.RUNNING.set(len(self._runs))
        return runs

    def _label(self, task: Task) -> str:
        return task.task_type if task.task_type in self._handlers else "unknown"

    # -- one task --------------------------------------------------------------------------------

    async def _run(self, run: _Run) -> None:
        """Bring one claimed task to an end of its run. Never raises but CancelledError."""
        task = run.task
        ids = {"task_id": str(task.public_id), "task_type": task.task_type, "merchant_id": task.merchant_id}
        if task.recovery_id is not None:
            ids["recovery_id"] = str(task.recovery_id)
        try:
            with bound(**ids):
                await self._attempt(run)
        except asyncio.CancelledError:
            if not run.lost:
                raise
            metrics.LOST_LEASES.labels(self._label(task)).inc()
            log.warning("lease_lost", **ids)
        finally:
            # Only its own entry: the same task may have been claimed anew while this run was ending.
            if self._runs.get(task.id) is run:
                del self._runs[task.id]
            metrics.SECONDS.labels(self._label(task)).observe(time.monotonic() - run.started)
            metrics.RUNNING.set(len(self._runs))
            if self._pace.concurrency - len(self._runs) >= self._worth_claiming:
                self._freed.set()

    async def _attempt(self, run: _Run) -> None:
        task, label = run.task, self._label(run.task)
        try:
            await self._work(run)
        except LeaseLost:
            metrics.LOST_LEASES.labels(label).inc()
            log.warning("lease_lost")
        except Exception as error:  # noqa: BLE001 - whatever one task does wrong, the loop goes on
            await self._failed(run, error)
        else:
            metrics.COMPLETED.labels(label).inc()
            log.debug("task_completed", attempt=task.attempt)

    async def _work(self, run: _Run) -> None:
        task = run.task
        handler = self._handlers.get(task.task_type)
        if handler is None:
            raise UnknownTaskType(task.task_type)
        job = handler.understand(task)
        async with self._database.transaction() as db:
            plan = await handler.load(db, job)
        outcome = await handler.perform(self._outside.remote(run.lease), plan)
        run.committing = True  # from here on the fence decides, not the heartbeat

        async def effects(db: Connection) -> None:
            if task.recovery_id is not None:
                # Everybody locks a recovery before its tasks, so that no two wait for each other.
                await store.lock_recovery(db, task.recovery_id)
            if not await tasks.complete(db, task):
                raise LeaseLost
            await handler.commit(db, job, outcome)

        await self._committed(run, effects)

    async def _committed(self, run: _Run, effects: Callable[[Connection], Awaitable[None]]) -> None:
        """Commit the effects; again, for as long as the lease lasts, when the database was busy or away.

        A COMMIT whose answer got lost is found out by the fence: the task is not running any more.
        """
        for pause in COMMIT_AGAIN_SECONDS:
            try:
                async with self._database.transaction() as db:
                    await effects(db)
            except (DatabaseAway, *BUSY) as error:
                if not run.lease.held:
                    raise
                log.warning("commit_again", reason=type(error).__name__)
                await asyncio.sleep(pause * self._draw.uniform(0.5, 1))
            else:
                return
        async with self._database.transaction() as db:
            await effects(db)

    async def _failed(self, run: _Run, error: Exception) -> None:
        """Put the task back, or bury it, for what its run raised."""
        task, label, verdict = run.task, self._label(run.task), judge(error)
        if verdict.unexpected:
            # The frames without the error's text, which may quote what must not be logged.
            frames = traceback.format_tb(error.__traceback__)
            log.error("task_failed", reason=verdict.reason, attempt=task.attempt, trace=frames[-8:])
        used_up = verdict.counts and task.attempt >= task.max_attempts
        try:
            async with self._database.transaction() as db:
                if verdict.final or used_up:
                    kept = await tasks.bury(db, task, verdict.reason)
                elif verdict.counts:
                    kept = await tasks.retry(db, task, verdict.delay or self._backoff(task), verdict.reason)
                else:
                    delay = verdict.delay or BLAMELESS_DELAY * self._draw.uniform(0.5, 1.5)
                    kept = await tasks.postpone(db, task, delay, verdict.reason)
        except (DatabaseAway, asyncpg.PostgresError) as away:
            # Nothing is lost: the lease runs out, and the task is rescued.
            log.warning("task_left_to_rescue", reason=verdict.reason, database=type(away).__name__)
            return
        if not kept:
            metrics.LOST_LEASES.labels(label).inc()
            log.warning("lease_lost", reason=verdict.reason)
        elif verdict.final or used_up:
            metrics.DEAD.labels(label).inc()
            log.error("task_dead", reason=verdict.reason, attempt=task.attempt)
        else:
            metrics.RETRIED.labels(label).inc()
            log.warning("task_retried", reason=verdict.reason, attempt=task.attempt, counts=verdict.counts)

    def _backoff(self, task: Task) -> timedelta:
        handler: AnyHandler | None = self._handlers.get(task.task_type)
        policy = handler.retry if handler else AnyHandler.retry
        return policy.delay(task.attempt, self._draw.random())

    # -- leases ----------------------------------------------------------------------------------

    async def _renew_leases(self) -> None:
        """At every third of a lease renew those of the tasks at work; end the work on those that were lost."""
        while True:
            await asyncio.sleep(self._pace.lease.total_seconds() / 3)
            held = [run for run in self._runs.values() if not run.committing]
            if not held:
                continue
            sent_at = time.monotonic()
            try:
                async with self._database.transaction() as db:
                    kept = await tasks.renew(db, [run.task for run in held], self._pace.lease)
            except (DatabaseAway, asyncpg.PostgresError) as error:
                log.warning("leases_not_renewed", reason=type(error).__name__, tasks=len(held))
                continue
            for run in held:
                if run.task.id in kept:
                    run.lease.renewed(sent_at)
                elif self._runs.get(run.task.id) is run:
                    self._lose(run)

    def _lose(self, run: _Run) -> None:
        """End the work on a task that another run has; one that is committing finds it out by its fence."""
        if not run.committing and run.runner is not None:
            run.lost = True
            run.runner.cancel()

    # -- the end ---------------------------------------------------------------------------------

    async def _wind_down(self) -> None:
        """Give running tasks their grace, then take them back from their runs and release them."""
        runners = {run.runner for run in self._runs.values() if run.runner is not None}
        if runners:
            log.info("finishing", tasks=len(runners))
            await asyncio.wait(runners, timeout=self._pace.grace_seconds)
        left = [run for run in self._runs.values() if run.runner is not None]
        for run in left:
            if run.runner is not None:
                run.runner.cancel()
        await asyncio.gather(*(run.runner for run in left if run.runner is not None), return_exceptions=True)
        if left:
            await self._release([run.task for run in left])

    async def _release(self, left: list[Task]) -> None:
        """Give tasks back for another worker to take at once; where that fails, their leases run out."""
        try:
            async with self._database.transaction() as db:
                for task in left:
                    if await tasks.release(db, task):
                        metrics.RELEASED.labels(self._label(task)).inc()
        except (DatabaseAway, asyncpg.PostgresError) as error:
            log.warning("not_released", reason=type(error).__name__, tasks=len(left))
        else:
            log.info("released", tasks=len(left))


async def _first_of(*events: asyncio.Event, seconds: float) -> None:
    """Wait until one of the events is set, `seconds` at most."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
