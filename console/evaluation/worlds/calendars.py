"""Calendars by country: when wages arrive and when limits are reset, in seconds since the epoch."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from services.worker.recovery.timezones import zone_of

FRIDAY: Final = 4
# Wages are booked overnight, so they are there when the bank's day begins.
PAID_AT: Final = time(5)


class Rhythm(StrEnum):
    """How often somebody is paid."""

    WEEKLY = "weekly"
    BIWEEKLY = "biweekly"
    SEMIMONTHLY = "semimonthly"
    MONTHLY = "monthly"


class LimitWindow(StrEnum):
    """The period after which a card's limit is reset."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def _last_business_day(day: date) -> date:
    last = (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    return last - timedelta(days=max(0, last.weekday() - FRIDAY))


_IS_PAYDAY: Final[Mapping[Rhythm, Callable[[date], bool]]] = {
    Rhythm.WEEKLY: lambda day: day.weekday() == FRIDAY,
    Rhythm.BIWEEKLY: lambda day: day.weekday() == FRIDAY and day.isocalendar().week % 2 == 0,
    Rhythm.SEMIMONTHLY: lambda day: day.day in (1, 15),
    Rhythm.MONTHLY: lambda day: day == _last_business_day(day),
}


@cache
def paydays(rhythm: Rhythm, country: str, first: date, days: int) -> tuple[float, ...]:
    """The moments at which wages arrive, in the `days` from `first` on."""
    zone, is_payday = zone_of(country), _IS_PAYDAY[rhythm]
    return tuple(_at(day, zone) for day in _days(first, days) if is_payday(day))


def limit_ends(window: LimitWindow, country: str, since: float) -> float:
    """When a limit that was reached at `since` is reset, by the calendar of the card's country."""
    zone = zone_of(country)
    today = datetime.fromtimestamp(since, zone).date()
    match window:
        case LimitWindow.DAY:
            ends = today + timedelta(days=1)
        case LimitWindow.WEEK:
            ends = today + timedelta(days=7 - today.weekday())
        case LimitWindow.MONTH:
            ends = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime.combine(ends, time(0), zone).timestamp()


def last_before(moments: tuple[float, ...], at: float) -> int:
    """The index of the last moment at or before `at`; -1 when there is none."""
    return bisect_right(moments, at) - 1


def _days(first: date, days: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(days)]


def _at(day: date, zone: ZoneInfo) -> float:
    return datetime.combine(day, PAID_AT, zone).timestamp()
