"""Group commit: what gathers while one transaction runs goes into the next one together.

There is no timer: a batch is whatever came meanwhile, so an idle worker commits at once and a busy one in bulk.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Hands what was added on to `work`, at most `most` at a time, in `parallel` batches at once.

    `work` answers for its own errors: what it raises ends the gatherer.
    """

    def __init__(self, work: Callable[[list[T]], Awaitable[None]], *, most: int, parallel: int = 1) -> None:
        self._work = work
        self._most = most
        self._parallel = parallel
        self._waiting: deque[T] = deque()
        self._added = asyncio.Event()

    def add(self, item: T) -> None:
        """Have it done soon."""
        self._waiting.append(item)
        self._added.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._parallel):
                group.create_task(self._batches())

    async def _batches(self) -> None:
        while True:
            if not self._waiting:
                self._added.clear()
                await self._added.wait()
                # What the same turn of the loop adds belongs to the same batch.
                await asyncio.sleep(0)
                continue
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            await self._work(batch)
