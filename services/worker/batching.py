"""Group commit: what arrives while one transaction runs goes into the next one together.

There is no timer: a batch is whatever has arrived, so an idle worker commits at once and a busy one in bulk.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Passes what was added to `work`, at most `most` items a batch, at most `parallel` batches at once.

    `work` handles its own errors: whatever it raises ends the batcher.
    """

    def __init__(self, work: Callable[[list[T]], Awaitable[None]], *, most: int, parallel: int = 1) -> None:
        self._work = work
        self._most = most
        self._parallel = parallel
        self._waiting: deque[T] = deque()
        self._added = asyncio.Event()

    def add(self, item: T) -> None:
        """Put an item into the next batch."""
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
                # What is added in the same turn of the event loop belongs to the same batch.
                await asyncio.sleep(0)
                continue
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            await self._work(batch)
