"""Time travel: moves the simulator's clock and the database's together; each step waits until no work is left."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from console.demo import store
from console.demo.store import Activity
from console.demo.target import Target
from shared.clock import travel_to
from shared.database import Database
from simulator.client import SimulatorClient

_POLL_S = 0.01


class Stuck(Exception):
    """A step did not end; the message says what is still due or running."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a step is, in simulated time, and how long one may take, in real time.

    A step goes to the next time at which something is due, but at least `shortest` and at most `longest`.
    """

    shortest: timedelta = timedelta(hours=3)
    longest: timedelta = timedelta(hours=12)
    patience_s: float = 60.0


class Travel:
    """Moves both clocks of a running stack. `woken` is called after each jump, before the wait."""

    def __init__(self, target: Target, simulator: SimulatorClient, database: Database, pace: Pace) -> None:
        self._target = target
        self._simulator = simulator
        self._database = database
        self._pace = pace
        self._next_due: int | None = None
        self._quiet: Activity | None = None
        self.steps = 0

    async def begin(self, start: datetime) -> None:
        """Set the database's clock to the simulator's."""
        async with self._database.transaction() as db:
            await travel_to(db, start)
        self._next_due = (await self._simulator.clock())["next_due"]

    async def step(self, end: datetime, woken: Callable[[], Awaitable[None]] | None = None) -> datetime:
        """One step towards `end`; returns the new time when everything due by then is done. Raises Stuck."""
        target = self._next_time(self._quiet or await self.calm_down(), end)
        moved = await asyncio.gather(self._simulator.advance(to=int(target.timestamp())), self._travel(target))
        self._next_due = moved[0]["next_due"]
        self.steps += 1
        if woken is not None:
            await woken()
        self._quiet = await self.calm_down()
        return target

    def _next_time(self, quiet: Activity, end: datetime) -> datetime:
        now = quiet.now
        due = [datetime.fromtimestamp(self._next_due, UTC)] if self._next_due is not None else []
        if quiet.next_run_at is not None:
            due.append(quiet.next_run_at)
        next_thing = min(due, default=end)
        target = min(max(next_thing, now + self._pace.shortest), now + self._pace.longest, end)
        return target.replace(microsecond=0)  # the simulator's seconds are whole

    async def _travel(self, target: datetime) -> None:
        async with self._database.transaction() as db:
            await travel_to(db, target)

    async def calm_down(self) -> Activity:
        """Wait until webhooks are delivered, and nothing is due, running or happening any more.

        Raises Stuck with a diagnosis, or ProcessFailed when a service has ended.
        """
        ends = time.monotonic() + self._pace.patience_s
        before: Activity | None = None
        while time.monotonic() < ends:
            await self._target.fail_if_ended()
            drained = await self._simulator.drain(within=1.0)
            async with self._database.transaction() as db:
                seen = await store.activity(db)
            if not (drained and seen.idle):
                before = None
                await asyncio.sleep(_POLL_S)
            elif before is not None and before.mark == seen.mark:
                return seen
            else:
                before = seen
        raise Stuck(await self._diagnosis())

    async def _diagnosis(self) -> str:
        async with self._database.transaction() as db:
            waiting = await store.unfinished(db)
        drained = await self._simulator.drain(within=0.1)
        lines = [
            f"  {row['tasks']} {row['task_type']} {row['status']} since {row['oldest']:%F %T}, "
            f"at most {row['attempts']} attempts; last error: {row['last_error'] or 'none'}"
            for row in waiting
        ]
        webhooks = "all webhooks are delivered" if drained else "webhooks are still on their way"
        return "\n".join([f"not quiet after {self._pace.patience_s:g} s; {webhooks}; waiting for:", *lines])
