"""Simulated time: it stands still until someone advances it, and runs what has become due."""

import heapq
import time
from collections.abc import Callable


class Clock:
    """Unix seconds that move only by `advance`, and a heap of what is to happen when.

    Timers of the same second run in the order in which they were set, so a story is the same
    however it is cut into advances.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.now = start
        self._moved_at = time.monotonic()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: int, action: Callable[[], None]) -> None:
        """Runs `action` when the clock reaches `when` (at once on the next advance if it is past)."""
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, action))

    def after(self, seconds: int, action: Callable[[], None]) -> None:
        """Runs `action` in that many simulated seconds."""
        self.at(self.now + seconds, action)

    def step(self, until: int) -> bool:
        """Runs the next timer that is due by `until`; False, and now == until, when there is none."""
        if self._timers and self._timers[0][0] <= until:
            when, _, action = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            action()
            return True
        self.now = max(self.now, until)
        self._moved_at = time.monotonic()
        return False

    def advance(self, until: int) -> int:
        """Moves the clock to `until`, running everything due on the way; how many timers ran."""
        ran = 0
        while self.step(until):
            ran += 1
        return ran

    @property
    def next_due(self) -> int | None:
        """When the next timer runs, or None."""
        return self._timers[0][0] if self._timers else None

    def drifted(self) -> int:
        """Now, plus the real seconds since the last advance: what a product whose clock runs sees."""
        return self.now + int(time.monotonic() - self._moved_at)
