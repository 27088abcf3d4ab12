"""How runs end: completions with their effects, tasks put back, dead letters; many of these in one commit.

    no effects       one statement for all: UPDATE … FROM unnest(ids, fences)
    effects          one transaction for a few: the recoveries' locks, all completions, each one's effects;
                     when one fails, all are rolled back and each is committed alone
    an error         one statement for all

None of these statements ends a task under an old fence: the run has no effect, and is counted as a lost lease.
"""

import asyncio
import random
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from services.worker import metrics
from services.worker.backoff import hold_delay
from services.worker.batching import Batcher
from services.worker.engine import store
from services.worker.engine.run import Kind, Run
from services.worker.errors import BUSY, LeaseLost, Verdict, judge
from services.worker.handler import AnyHandler, Job
from shared.database import Connection, Database, DatabaseAway
from shared.ids import MerchantId
from shared.logging import get_logger
from shared.queue import tasks
from shared.queue.tasks import End, Task, TaskStatus

log = get_logger(__name__)

# A commit is repeated while the task is still ours: the outcome of a call must not be lost if that can be avoided.
COMMIT_AGAIN_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
# A task whose failure was not its own fault is due again after this long, give or take a half.
BLAMELESS_DELAY = timedelta(seconds=10)
COMPLETED_TOGETHER = 1_000
# Effects lock merchants' totals until the commit: few together, so that others do not wait long.
EFFECTS_TOGETHER = 16
EFFECTS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Effects:
    """What a run has to write. `handler` is the one of the task's type."""

    run: Run
    handler: AnyHandler
    job: Job[Any]
    outcome: Any

    @property
    def place(self) -> tuple[str, str]:
        """The sort key within a transaction: everybody locks a merchant's rows in the same order."""
        return self.job.merchant_id, str(self.job.recovery_id or "")


@dataclass(frozen=True, slots=True)
class _Failed:
    run: Run
    verdict: Verdict
    end: End


class Committer:
    """Ends runs. `ended` is called once for each, however it ended."""

    def __init__(self, database: Database, ended: Callable[[Run], None]) -> None:
        self._database = database
        self._ended = ended
        self._draw = random.Random()  # noqa: S311 - jitter, not a secret
        self._completions = Batcher(self._complete, most=COMPLETED_TOGETHER)
        self._effects = Batcher(self._commit, most=EFFECTS_TOGETHER, parallel=EFFECTS_AT_ONCE)
        self._failures = Batcher(self._put_back, most=COMPLETED_TOGETHER)

    async def run(self) -> None:
        """Commit until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in (self._completions, self._effects, self._failures):
                group.create_task(each.run())

    def complete(self, run: Run) -> None:
        """End a run that has no effects."""
        run.ending = True  # from here on the fence decides, not the heartbeat
        self._completions.add(run)

    def commit(self, effects: Effects) -> None:
        """End a run together with its effects."""
        effects.run.ending = True
        self._effects.add(effects)

    def fail(self, run: Run, error: Exception) -> None:
        """Put the task back or bury it, by the error that its run raised."""
        verdict = judge(error)
        run.ending = True
        if verdict.unexpected:
            # Without the error's text, which may quote what must not be logged.
            frames = traceback.format_tb(error.__traceback__)
            log.error("task_failed", reason=verdict.reason, tries=run.task.tries, trace=frames[-8:], **run.ids())
        self._failures.add(_Failed(run, verdict, self._end_of(run, verdict)))

    def put_back(self, run: Run, delay: timedelta, why: str) -> None:
        """Put back a task that was not begun."""
        run.ending = True
        verdict = Verdict(why, final=False, counts=False, delay=delay)
        self._failures.add(_Failed(run, verdict, tasks.to_postpone(run.task, delay, why)))

    def lose(self, run: Run) -> None:
        """Note that a run lost its lease, and end it."""
        run.kind.lost.inc()
        log.warning("lease_lost", **run.ids())
        self._ended(run)

    def _end_of(self, run: Run, verdict: Verdict) -> End:
        task = run.task
        if verdict.held is not None:
            held = task.now - (task.held_since or task.now)
            return tasks.to_hold(task, hold_delay(held, self._draw.random()), verdict.reason, verdict.held)
        if verdict.final or (verdict.counts and task.tries >= task.max_tries):
            return tasks.to_bury(task, verdict.reason)
        if verdict.counts:
            return tasks.to_retry(task, verdict.delay or self._backoff(run), verdict.reason)
        delay = verdict.delay or BLAMELESS_DELAY * self._draw.uniform(0.5, 1.5)
        return tasks.to_postpone(task, delay, verdict.reason)

    def _backoff(self, run: Run) -> timedelta:
        policy = (run.kind.handler or AnyHandler).retry
        return policy.delay(run.task.tries, self._draw.random())

    # -- what is done in groups ------------------------------------------------------------------

    async def _complete(self, runs: list[Run]) -> None:
        async def work() -> set[int]:
            async with self._database.statement() as db:
                return await tasks.complete_many(db, [run.task for run in runs])

        try:
            kept = await self._again(runs, work)
        except (DatabaseAway, asyncpg.PostgresError) as error:
            self._left_to_rescue(runs, error)
            return
        self._count(runs, kept)

    async def _commit(self, group: list[Effects]) -> None:
        if len(group) > 1:
            group.sort(key=lambda each: each.place)
            try:
                async with self._database.transaction() as db:
                    kept = await self._write(db, group)
            except Exception:  # noqa: BLE001, S110 - one of them failed, or the database: each alone finds out
                pass
            else:
                self._count([each.run for each in group], kept)
                return
        await asyncio.gather(*(self._commit_alone(each) for each in group))

    async def _commit_alone(self, effects: Effects) -> None:
        async def work() -> set[int]:
            async with self._database.transaction() as db:
                return await self._write(db, [effects])

        try:
            kept = await self._again([effects.run], work)
        except LeaseLost:
            self.lose(effects.run)
        except Exception as error:  # noqa: BLE001 - whatever the effects of one task do wrong, the rest goes on
            self.fail(effects.run, error)
        else:
            self._count([effects.run], kept)

    async def _write(self, db: Connection, group: Sequence[Effects]) -> set[int]:
        """Complete the runs, and write the effects of those whose lease was still held."""
        # Everybody locks a recovery before its tasks, so that there is no deadlock.
        await store.lock_recoveries(
            db,
            [each.job.recovery_id for each in group if each.job.recovery_id],
            [each.job.recovery_id for each in group if each.job.recovery_id and each.handler.locks_customer],
        )
        kept = await tasks.complete_many(db, [each.run.task for each in group])
        for each in group:
            if each.run.task.id in kept:
                await each.handler.commit(db, each.job, each.outcome)
        return kept

    async def _put_back(self, failed: list[_Failed]) -> None:
        news: list[tuple[MerchantId, str]] = []

        async def work() -> set[int]:
            async with self._database.statement() as db:
                ends = [each.end for each in failed]
                news[:] = await tasks.first_held(db, ends)
                return await tasks.end_many(db, ends)

        runs = [each.run for each in failed]
        try:
            kept = await self._again(runs, work)
        except (DatabaseAway, asyncpg.PostgresError) as error:
            self._left_to_rescue(runs, error)
            return
        for each in failed:
            if each.run.task.id not in kept:
                self.lose(each.run)
                continue
            self._tell(each)
            self._ended(each.run)
        for merchant_id, reason in news:
            # Once for all of a merchant's tasks: a person has to set a key or an account right.
            log.error("merchant_held", merchant_id=merchant_id, reason=reason)

    async def _again(self, runs: Sequence[Run], work: Callable[[], Awaitable[set[int]]]) -> set[int]:
        """Do `work`, and repeat it for as long as a lease lasts when the database was busy or away.

        If a COMMIT took effect and its answer was lost, the fence shows it: the task is no longer running.
        """
        for pause in COMMIT_AGAIN_SECONDS:
            try:
                return await work()
            except (DatabaseAway, *BUSY) as error:
                if not any(run.lease.held for run in runs):
                    raise
                log.warning("commit_again", reason=type(error).__name__, tasks=len(runs))
                await asyncio.sleep(pause * self._draw.uniform(0.5, 1))
        return await work()

    # -- what is told ----------------------------------------------------------------------------

    def _count(self, runs: Sequence[Run], kept: set[int]) -> None:
        kinds: dict[Kind, int] = {}
        for run in runs:
            if run.task.id in kept:
                kinds[run.kind] = kinds.get(run.kind, 0) + 1
                self._ended(run)
            else:
                self.lose(run)
        for kind, count in kinds.items():
            kind.completed.inc(count)

    def _tell(self, failed: _Failed) -> None:
        run, label = failed.run, failed.run.kind.label
        told = {"reason": failed.verdict.reason, "tries": run.task.tries, **run.ids()}
        if failed.end.status is TaskStatus.DEAD:
            metrics.DEAD.labels(label).inc()
            log.error("task_dead", **told)
            return
        if failed.verdict.held is not None:
            metrics.HELD.labels(failed.verdict.held).inc()
        metrics.RETRIED.labels(label).inc()
        log.info("task_retried", counts=failed.verdict.counts, **told)

    def _left_to_rescue(self, runs: Sequence[Run], error: Exception) -> None:
        """Log it and give up: nothing is lost, the leases run out and the tasks are rescued."""
        log.warning("tasks_left_to_rescue", tasks=len(runs), database=type(error).__name__)
        for run in runs:
            self._ended(run)


async def release(database: Database, left: Sequence[Task]) -> set[int]:
    """Give tasks back for another worker to take at once; the ids that were still held. Raises DatabaseAway."""
    async with database.statement() as db:
        return await tasks.end_many(db, [tasks.to_release(task) for task in left])
