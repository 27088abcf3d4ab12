"""Banks that decline whatever the cause: in some hours, or during an outage. And banks that want rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from console.evaluation.worlds.base import number_of
from console.evaluation.worlds.calendars import QUARTER, local_hour
from console.evaluation.worlds.document import ClosedHours
from services.worker.recovery.timezones import UTC as UTC_ZONE

HOUR: Final = 3600.0
_HOURS_A_WEEK: Final = 168


@dataclass(frozen=True, slots=True)
class Bank:
    """A card's bank. Times are seconds since the epoch.

    `closed`: hours in which it declines; `outages`: from when to when it is down. `late`: by how many hours the closed
    hours begin later on a date.
    """

    closed: tuple[ClosedHours, ...]
    outages: tuple[tuple[float, float], ...]
    zone: ZoneInfo
    late: Callable[[date], int] | None = None
    # What is let through in each hour of the week, from Monday on, by the local clock and by UTC.
    _local: tuple[float, ...] = field(init=False)
    _utc: tuple[float, ...] | None = field(init=False)
    # How far its clock's full hours are apart from those of UTC decides how often that may change.
    _step: int = field(init=False)
    # The largest share of attempts that it lets through at any time.
    best: float = field(init=False)

    def __post_init__(self) -> None:
        for name, clock in (("_local", "local"), ("_utc", "utc")):
            hours = [each for each in self.closed if each.clock == clock]
            week = tuple(_let_through(hours, hour // 24, hour % 24) for hour in range(_HOURS_A_WEEK))
            object.__setattr__(self, name, week if hours or name == "_local" else None)
        offset = datetime(2026, 1, 1, tzinfo=self.zone).utcoffset() or timedelta(0)
        object.__setattr__(self, "_step", QUARTER if offset % timedelta(hours=1) else int(HOUR))
        object.__setattr__(self, "best", max(self._local) * max(self._utc or (1.0,)))

    def lets_through(self, at: float) -> float:
        """The share of attempts that it does not decline at a time for a reason of its own."""
        for begins, ends in self.outages:
            if begins <= at < ends:
                return 0.0
        quarter = int(at // QUARTER)
        if self.late is not None:
            quarter -= 4 * self.late(datetime.fromtimestamp(at, UTC).date())
        weekday, hour = local_hour(self.zone, quarter)
        through = self._local[24 * weekday + hour]
        if self._utc is not None:
            weekday, hour = local_hour(UTC_ZONE, quarter)
            through *= self._utc[24 * weekday + hour]
        return through

    def next_change(self, at: float) -> float:
        """The first time after `at` at which that share may be another one."""
        soonest = (at // self._step + 1) * self._step
        return min([soonest, *(moment for outage in self.outages for moment in outage if moment > at)])


def _let_through(closed: Sequence[ClosedHours], weekday: int, hour: int) -> float:
    through = 1.0
    for each in closed:
        if each.holds(hour) and (not each.weekdays or weekday in {number_of(day) for day in each.weekdays}):
            through *= 1 - each.chance
    return through


@dataclass(frozen=True, slots=True)
class Rest:
    """A velocity rule: no attempt within `seconds` after another one, and fewer than `most` in the last `within`
    seconds; `most` None: any number."""

    seconds: float
    most: int | None = None
    within: float = 0.0

    def over_at(self, tried: Sequence[float]) -> float:
        """When an attempt is accepted again after those at `tried`, which rise; the first is the failed renewal."""
        over = tried[-1] + self.seconds
        if self.most is not None and len(tried) >= self.most:
            over = max(over, tried[-self.most] + self.within)
        return over
