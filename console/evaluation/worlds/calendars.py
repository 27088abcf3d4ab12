"""Calendars by country: when wages arrive and when limits are reset, in seconds since the epoch."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from console.evaluation.worlds.wages import WageGroup
from services.worker.recovery.business_days import A_DAY, business_day_after, business_day_before, first_of_next
from services.worker.recovery.timezones import zone_of

FIRST_DAY: Final = date(2026, 1, 5)
"""The first of the days on which the compared renewals fail."""
DAYS: Final = 28
QUARTER: Final = 900
"""Seconds. The clocks of all countries differ by whole quarters of an hour."""
# Days beyond the range whose payday may be moved into it: by a business-day rule, a shift and drift.
_MOVED_AT_MOST: Final = 75


def run_days_of(days_of_month: Sequence[int], first: date, days: int) -> list[int]:
    """Which of the `days` from `first` on (counted from 0) have a run of renewals; all, when no day is named."""
    return [n for n in range(days) if not days_of_month or (first + n * A_DAY).day in days_of_month]


def paydays(
    group: WageGroup, country: str, first: date, days: int, late: Callable[[date], int] = lambda _: 0
) -> tuple[float, ...]:
    """The moments at which a group's wages arrive, in the `days` from `first` on.

    `late`: by how many days the payday of a day is off, beside the group's own shift. Empty for an irregular rhythm.
    """
    zone, last = zone_of(country), first + days * A_DAY
    holidays_of = country if group.holidays else None
    found = set()
    for n in range(-_MOVED_AT_MOST, days + _MOVED_AT_MOST):
        day = first + n * A_DAY
        if group.on.falls_on(day, holidays_of):
            paid = _on_business_day(day, group, holidays_of) + (group.shift_days + late(day)) * A_DAY
            if first <= paid < last:
                found.add(paid)
    return tuple(datetime.combine(day, time(group.hour), zone).timestamp() for day in sorted(found))


def limit_ends(window: str, country: str, since: float) -> float:
    """When a limit by the day, week or month that was reached at `since` is reset, by the calendar of the country."""
    zone = zone_of(country)
    today = datetime.fromtimestamp(since, zone).date()
    match window:
        case "day":
            ends = today + A_DAY
        case "week":
            ends = today + timedelta(days=7 - today.weekday())
        case _:
            ends = first_of_next(today)
    return datetime.combine(ends, time(0), zone).timestamp()


def last_before(moments: Sequence[float], at: float) -> int:
    """The index of the last moment at or before `at`; -1 when there is none."""
    return bisect_right(moments, at) - 1


@cache
def local_hour(zone: ZoneInfo, quarter: int) -> tuple[int, int]:
    """Weekday (0: Monday) and hour of a quarter of an hour, counted from the epoch."""
    local = datetime.fromtimestamp(quarter * QUARTER, zone)
    return local.weekday(), local.hour


def _on_business_day(day: date, group: WageGroup, country: str | None) -> date:
    match group.not_on_business_days:
        case "before":
            return business_day_before(day, country)
        case "after":
            return business_day_after(day, country)
        case _:
            return day
