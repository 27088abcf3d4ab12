"""A worker that dies at any single await of its run, and how another one finds what it left.

A killed process does not unwind: nothing after the await runs, and PostgreSQL ends its connection. So the run is not
cancelled here but left where it is, for ever, and its connections are ended from outside. What it had sent to Stripe
is sent. Every await of the run is one such point: the engine's, the handler's, the database driver's and the HTTP
client's, found by stepping through the run and not by a list.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any

from services.worker.engine.loop import Engine
from services.worker.handlers import discover
from shared.database import Database, Role
from shared.queue import tasks
from tests.integration.worker.world import PACE, World
from tests.waiting import PATIENCE_S, until

DOOMED = "doomed-worker"
"""The name of its connections: open its database under it."""


class Process:
    """Everything that runs in it counts its awaits together, and stops at one of them for good."""

    def __init__(self, dies_at: int) -> None:
        self.awaits = 0
        self.dead = asyncio.Event()
        self.buried = False
        self._dies_at = dies_at
        self._tasks: set[asyncio.Task[Any]] = set()

    def ends_here(self) -> bool:
        """Note one more await; whether it is the last that ever begins."""
        self.awaits += 1
        if self.awaits >= self._dies_at and not self.buried:
            self.dead.set()
        return self.dead.is_set() and not self.buried

    def start(self, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        """A task of this process; the tasks that it starts belong to it, too."""
        task: asyncio.Task[Any] = asyncio.Task(_driven(self, work), loop=asyncio.get_running_loop(), **options)
        self._tasks.add(task)
        return task

    def make_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        """The event loop's way to make tasks while this process lives."""
        if asyncio.current_task() in self._tasks:
            return self.start(work, **options)
        return asyncio.Task(work, loop=loop, **options)

    async def bury(self) -> None:
        """Free what the test's own process still holds of it."""
        self.buried = True

        # Again and again: one that is told of a lost lease, or waits for another one, hears the first time of that.
        def left() -> list[asyncio.Task[Any]]:
            alive = [task for task in self._tasks if not task.done()]
            for task in alive:
                task.cancel()
            return alive

        await until(left, "every task of the process has ended", lambda alive: not alive)
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _driven(process: Process, work: Coroutine[Any, Any, Any]) -> Any:
    return await _Steps(process, work)


class _Steps:
    """Runs a coroutine from await to await."""

    def __init__(self, process: Process, work: Coroutine[Any, Any, Any]) -> None:
        self._process, self._work = process, work

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                waits_for = self._work.send(value) if error is None else self._work.throw(error)
            except StopIteration as end:
                return end.value
            value = error = None
            try:
                if self._process.ends_here():
                    yield from self._for_ever()
                else:
                    value = yield waits_for
            except BaseException as thrown:  # noqa: BLE001 - handed on to the coroutine, whatever it is
                error = thrown

    def _for_ever(self) -> Generator[Any, Any, None]:
        # A dead process hears no time-out, and nobody cancels it, before it is buried.
        while True:
            try:
                yield from asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if self._process.buried:
                    raise


@asynccontextmanager
async def run_until_death(world: World, database_url: str, at: int) -> AsyncIterator[Process]:
    """Run what is due in a process that dies at its `at`th await, unless it is done before; buried after the block."""
    async with Database.open(database_url, Role.WORKER, size=5, name=DOOMED) as doomed:
        engine = Engine(f"{DOOMED}-{at}", doomed, discover(), world.outside, PACE)
        async with die_at(at, engine, world.execute) as process:
            yield process


@asynccontextmanager
async def die_at(at: int, engine: Engine, execute: Callable[[str, str], Awaitable[None]]) -> AsyncIterator[Process]:
    """The same with this engine, whose database was opened as DOOMED; `execute` has the owner's rights.

    Buried whatever happens: nobody else can cancel a dead process, and a test that fails would never end.
    """
    process = Process(at)
    loop = asyncio.get_running_loop()
    main, death = process.start(engine.run_due()), loop.create_task(process.dead.wait())
    try:
        loop.set_task_factory(process.make_task)
        try:
            ended, _ = await asyncio.wait({main, death}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
            assert ended, f"the run stands still at its await {process.awaits} and was to die at {at}"
        finally:
            loop.set_task_factory(None)
            death.cancel()
        await execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = $1 AND datname = current_database()",
            DOOMED,
        )
        yield process
    finally:
        await process.bury()


async def rescued(world: World) -> None:
    """The leases of the dead run out."""
    await world.execute(
        "UPDATE scheduled_tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE status = 'running'"
    )
    async with world.worker.transaction() as db:
        await tasks.rescue(db)
