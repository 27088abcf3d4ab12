"""Which lanes a claim scans, in which order, and from which mark: one worker's memory of its own claims.

A merchant's tasks are in one of `LANES` lanes. A claim scans first the lanes that were empty last time, then those that
had work, in turn, and takes a share from each. So a merchant with a million due tasks is served, and delays nobody
outside its lane. Each lane has a mark, the (run_at, id) of the task that was claimed last, from which the next scan
starts. Behind a mark lie dead index entries (as many as an old snapshot keeps) and late tasks. For the late ones a
claim looks behind the marks now and then, so seldom that it costs at most a fiftieth of the time.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LANES = 256
"""The number of lanes, also in the index `scheduled_tasks_lanes` and in the claim: a change needs a migration."""

Mark = tuple[datetime, int]
"""(run_at, id) of a task."""

_START: Mark = (datetime(1, 1, 2, tzinfo=UTC), 0)
# Transactions usually commit out of order by no more than this: marks stay this far behind the present business time.
_LAG = timedelta(milliseconds=100)
_ALL_EVERY_SECONDS = 0.02
_BEHIND_EVERY_SECONDS = 0.5
_BEHIND_SHARE = 50


@dataclass(frozen=True, slots=True)
class Round:
    """What one claim asks for: lanes in order, the mark of each, the most tasks per lane. `sent_at` is monotonic."""

    numbers: Sequence[int]
    run_ats: Sequence[datetime]
    ids: Sequence[int]
    limit: int
    quota: int
    behind: bool
    sent_at: float


class Lanes:
    """The marks, and which lanes are next. It may be lost at any time: a new one starts from the beginning."""

    __slots__ = ("_all_at", "_behind_at", "_busy", "_marks", "more")

    def __init__(self) -> None:
        self._marks: list[Mark] = [_START] * LANES
        self._busy: list[int] = []
        self._all_at = 0.0
        self._behind_at = 0.0
        self.more = False
        """Whether the last claim left due tasks, as far as it could see."""

    def look_behind(self) -> None:
        """Make the next claim look behind the marks."""
        self._behind_at = 0.0

    def next_round(self, limit: int) -> Round:
        """The next round, for up to `limit` tasks."""
        now = time.monotonic()
        behind = now >= self._behind_at
        everywhere = behind or not self._busy or now >= self._all_at
        if everywhere:
            self._all_at = now + _ALL_EVERY_SECONDS
            busy = set(self._busy)
            numbers = [lane for lane in range(LANES) if lane not in busy] + self._busy
        else:
            numbers = list(self._busy)
        marks = [_START] * len(numbers) if behind else [self._marks[lane] for lane in numbers]
        quota = -(-limit // max(1, len(self._busy)))
        return Round(numbers, [mark[0] for mark in marks], [mark[1] for mark in marks], limit, quota, behind, now)

    def answered(self, asked: Round, now: datetime | None, found: Iterable[tuple[int, datetime, int]]) -> None:
        """Note what a round found: (lane, run_at, id) of each task; `now` is the business time, None without tasks."""
        counts: dict[int, int] = {}
        newest: dict[int, Mark] = {}
        for lane, run_at, task_id in found:
            counts[lane] = counts.get(lane, 0) + 1
            newest[lane] = max(newest.get(lane, _START), (run_at, task_id))
        if now is not None:
            latest = (now - _LAG, 0)
            for lane, mark in newest.items():
                self._marks[lane] = max(self._marks[lane], min(mark, latest))
        full = sum(counts.values()) >= asked.limit
        # A full claim ended before it reached the lanes after the last one that gave a task.
        seen = max((place for place, lane in enumerate(asked.numbers) if lane in counts), default=-1)
        visited = asked.numbers[: seen + 1] if full else asked.numbers
        if len(visited) < len(asked.numbers):
            self._all_at = 0.0  # the lanes that it did not reach are next, whatever the time
        looked_into = set(visited)
        self._busy = [lane for lane in self._busy if lane not in looked_into] + [
            lane for lane in visited if lane in counts
        ]
        self.more = full or any(count >= asked.quota for count in counts.values())
        if asked.behind:
            took = time.monotonic() - asked.sent_at
            self._behind_at = time.monotonic() + max(_BEHIND_EVERY_SECONDS, _BEHIND_SHARE * took)

    def failed(self, asked: Round) -> None:
        """Note that a round failed: its due tasks are still there, and a look behind the marks is put off."""
        self.more = True
        if asked.behind:
            took = time.monotonic() - asked.sent_at
            self._behind_at = time.monotonic() + max(_BEHIND_EVERY_SECONDS, _BEHIND_SHARE * took)
