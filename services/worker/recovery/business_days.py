"""Business days by country, and the days of a month."""

from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from services.worker.recovery.attempt_times import is_holiday

FRIDAY: Final = 4
A_DAY: Final = timedelta(days=1)


def is_business_day(day: date, country: str | None) -> bool:
    """Whether the day is neither a weekend nor, with a country, one of its public holidays."""
    return day.weekday() <= FRIDAY and not is_holiday(day, country)


def business_day_before(day: date, country: str | None) -> date:
    """The day itself, or the last business day before it."""
    while not is_business_day(day, country):
        day -= A_DAY
    return day


def business_day_after(day: date, country: str | None) -> date:
    """The day itself, or the first business day after it."""
    while not is_business_day(day, country):
        day += A_DAY
    return day


@lru_cache(maxsize=4096)
def first_of_next(day: date) -> date:
    """The first day of the next month."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def last_business_day(day: date, country: str | None = None) -> date:
    """The last business day of the day's month."""
    return _last_business_day(day.replace(day=1), country)


@lru_cache(maxsize=4096)
def _last_business_day(first: date, country: str | None) -> date:
    return business_day_before(first_of_next(first) - A_DAY, country)
