"""Kills one worker in the middle of its work; another one must do its tasks."""

import asyncio
import time
from dataclasses import dataclass

from console.demo import store
from console.demo.target import Target
from console.demo.travel import Stuck
from shared.database import Database

_POLL_S = 0.002
_LOOKING_S = 3.0
_IDLE_S = 0.3


@dataclass(slots=True)
class Crash:
    """A kill: the worker, the day of the story, and the ids of the tasks that it held."""

    worker: str
    locked_by: str
    day: int
    held: tuple[int, ...]
    rescued: int = 0
    finished: int = 0
    rescued_after_s: float = 0.0


async def kill_a_busy_worker(target: Target, database: Database, day: int) -> Crash | None:
    """Find a worker that holds running tasks, and SIGKILL it; None when no worker has any."""
    began = busy = time.monotonic()
    while (now := time.monotonic()) < began + _LOOKING_S and now < busy + _IDLE_S:
        async with database.transaction() as db:
            held = await store.held_tasks(db)
            if held or not (await store.activity(db)).idle:
                busy = now
        for locked_by in sorted(held, key=lambda holder: -len(held[holder])):
            name = await target.kill_worker(locked_by)
            if name is None:
                continue
            # The tasks that it still holds after its death: only a rescue can move them.
            async with database.transaction() as db:
                left = (await store.held_tasks(db)).get(locked_by, [])
            return Crash(name, locked_by, day, tuple(left))
        await asyncio.sleep(_POLL_S)
    return None


async def wait_for_rescue(database: Database, crash: Crash, patience_s: float) -> None:
    """Wait until every task of the dead worker has been rescued. Raises Stuck."""
    began = time.monotonic()
    while crash.rescued < len(crash.held):
        await count_rescued(database, crash)
        crash.rescued_after_s = time.monotonic() - began
        if crash.rescued_after_s > patience_s:
            lost = len(crash.held) - crash.rescued
            raise Stuck(f"{lost} tasks of {crash.worker} were not rescued within {patience_s:g} s")
        await asyncio.sleep(0.05)


async def count_rescued(database: Database, crash: Crash) -> None:
    """Count how many of the tasks were rescued, and how many are done by now."""
    async with database.transaction() as db:
        row = (await store.rows(db, store.CLAIMED_AGAIN, list(crash.held), crash.locked_by))[0]
    crash.rescued, crash.finished = row["rescued"], row["finished"]
