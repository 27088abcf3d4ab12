"""Tasks that were in the hands of a worker when it died: one of them may have killed it.

They are let in few at a time, the fewer the oftener it happened: so a poisonous task meets ever fewer neighbours, ends
in the dead letters after its attempts, and takes no innocent one with it. One with its last attempt runs apart from
all other suspects.
"""

import random
from datetime import timedelta

from services.worker.engine.run import Run

# By how often they were rescued: how many suspects may be in hand at a time. Afterwards one.
_AT_ONCE = {1: 32, 2: 4}
_DELAY_SECONDS = (0.5, 10.0)
_REMEMBERED = 10_000


class Quarantine:
    """Who is let in."""

    __slots__ = ("_draw", "_inside", "_refused")

    def __init__(self) -> None:
        self._inside: set[int] = set()
        self._refused: dict[int, int] = {}
        self._draw = random.Random()  # noqa: S311 - jitter, not a secret

    def admits(self, run: Run) -> bool:
        """Whether a rescued task may run now; then it is inside until `ended`."""
        task = run.task
        room = 1 if task.tries >= task.max_tries else _AT_ONCE.get(task.rescues, 1)
        if len(self._inside) >= room:
            return False
        self._inside.add(id(run))
        self._refused.pop(task.id, None)
        return True

    def ended(self, run: Run) -> None:
        """Note that a run ended, let in or not."""
        self._inside.discard(id(run))

    def delay(self, run: Run) -> timedelta:
        """When one that was not let in tries again: later each time, so that waiting in line costs few claims."""
        if len(self._refused) >= _REMEMBERED:
            self._refused.clear()
        before = self._refused.get(run.task.id, 0)
        self._refused[run.task.id] = before + 1
        first, longest = _DELAY_SECONDS
        return timedelta(seconds=min(first * 2.0 ** min(before, 10), longest) * self._draw.uniform(0.5, 1.0))
