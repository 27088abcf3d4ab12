"""Moves the clocks of the database and the simulator together, in small steps, during the storm."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from shared.clock import travel_to
from shared.database import Database, DatabaseAway
from simulator.client import SimulatorClient
from tests.chaos import store

STEP = timedelta(minutes=40)
"""The two clocks never differ by more, so that Stripe keeps a key for longer than we use it, by an hour."""


class Travel:
    """Moves both clocks, the database's first, so that for a due task Stripe's clock is a little slow.

    Between two steps the database's clock runs in real time, and the simulator's stands still.
    """

    def __init__(self, simulator: SimulatorClient, database: Database, start: datetime, last: datetime) -> None:
        self._simulator = simulator
        self._database = database
        self._now = start
        self._last = last
        self._pauses = 0
        self._turn = asyncio.Lock()
        self.steps = 0

    @property
    def now(self) -> datetime:
        """The time of both clocks."""
        return self._now

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """No step during the block (a jump is possible)."""
        self._pauses += 1
        try:
            async with self._turn:
                pass  # a step in progress has ended
            yield
        finally:
            self._pauses -= 1

    async def run(self, every_s: float) -> None:
        """Make step after step, until cancelled or at the last day."""
        while self._now < self._last:
            await asyncio.sleep(every_s)
            if not self._pauses:
                async with self._turn:
                    await self._move(STEP, careful=True)

    async def jump(self, hours: float) -> None:
        """Move on by so many hours at once, in steps by which the clocks may differ. Only while no worker runs."""
        async with self._turn:
            target = (self._now + timedelta(hours=hours)).replace(microsecond=0)
            while self._now < target:
                while not await self._move(min(STEP, target - self._now), careful=False):
                    await asyncio.sleep(0.1)

    async def _move(self, step: timedelta, *, careful: bool) -> bool:
        target = (self._now + step).replace(microsecond=0)
        try:
            async with self._database.transaction() as db:
                if careful and await store.at_the_border(db, step):
                    return False
                await travel_to(db, target)
        except DatabaseAway:
            return False  # a COMMIT that was cut off may have taken effect: the next try sets the same time
        await self._simulator.advance(to=int(target.timestamp()))
        self._now = target
        self.steps += 1
        return True
