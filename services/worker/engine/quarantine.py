"""The quarantine for rescued tasks: a worker died while it held them, so one of them may have killed it.

The more often a task was rescued, the fewer run beside it. So a task that kills its worker ends in the dead letters
after its tries, and takes no other task with it. A rescued task with one try left runs apart from all other rescued
tasks.
"""

import random
from datetime import timedelta

from services.worker.engine.run import Run

# By how often they were rescued: how many rescued tasks may run at a time. After that, one.
_AT_ONCE = {1: 32, 2: 4}
_DELAY_SECONDS = (0.5, 10.0)
_REMEMBERED = 10_000


class Quarantine:
    """Which rescued tasks may run now."""

    __slots__ = ("_draw", "_inside", "_refused")

    def __init__(self) -> None:
        self._inside: set[int] = set()
        self._refused: dict[int, int] = {}
        self._draw = random.Random()  # noqa: S311 - jitter, not a secret

    def admits(self, run: Run) -> bool:
        """Whether a rescued task may run now; if so, it counts as running until `ended`."""
        task = run.task
        room = 1 if task.tries >= task.max_tries else _AT_ONCE.get(task.rescues, 1)
        if len(self._inside) >= room:
            return False
        self._inside.add(id(run))
        self._refused.pop(task.id, None)
        return True

    def ended(self, run: Run) -> None:
        """Note that a run ended, whether it was admitted or not."""
        self._inside.discard(id(run))

    def delay(self, run: Run) -> timedelta:
        """When a task that was not admitted is due again: later each time, so that waiting costs few claims."""
        if len(self._refused) >= _REMEMBERED:
            self._refused.clear()
        before = self._refused.get(run.task.id, 0)
        self._refused[run.task.id] = before + 1
        first, longest = _DELAY_SECONDS
        return timedelta(seconds=min(first * 2.0 ** min(before, 10), longest) * self._draw.uniform(0.5, 1.0))
