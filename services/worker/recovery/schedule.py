"""When to try again, by the cause of the last decline. No clock, no randomness: equal inputs give equal times."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import count
from typing import assert_never
from zoneinfo import ZoneInfo

from services.worker.recovery.business_days import last_business_day
from services.worker.recovery.model import as_utc
from services.worker.recovery.timezones import zone_of
from shared.policy import WEEKDAYS, Delays, Paydays

# A delay is lengthened by up to this share, so that invoices that failed together are not retried together.
DELAY_SPREAD = 0.1
# How far learned timing may change the schedule's delay: to half or to double.
EARLIER, LATER = 0.5, 2.0
COMMON_PAYDAYS = Paydays()


def next_retry(schedule: Delays | Paydays, since: datetime, tries: int, country: str | None, key: str) -> datetime:
    """The time (UTC) of the next attempt after one at `since`; always later than `since`.

    `tries` (1 or more) is the number of attempts with this payment method. `key` and `tries` decide the place within
    the spread.
    """
    since = as_utc("since", since)
    share = spread(key, tries)
    match schedule:
        case Delays():
            return since + _delay(schedule, tries) * (1 + DELAY_SPREAD * share)
        case Paydays():
            return _next_payday(schedule, since, country, share)
    assert_never(schedule)


def span(
    schedule: Delays | Paydays, since: datetime, tries: int, country: str | None, due: datetime
) -> tuple[datetime, datetime]:
    """The span of times (UTC) in which learned timing may place the next attempt after one at `since`.

    With paydays: from the morning of the day of `due` to its end, so the day stays. A few months of data say too little
    about days (the last business day is the 28th in one month, the 31st in another), and waiting for a better day
    costs an attempt.
    """
    since = as_utc("since", since)
    match schedule:
        case Delays():
            delay = _delay(schedule, tries)
            return since + delay * EARLIER, since + delay * LATER
        case Paydays():
            zone = zone_of(country)
            day = due.astimezone(zone).date()
            morning, midnight = _at(day, schedule.from_hour, zone), _at(day + timedelta(days=1), 0, zone)
            return max(morning, since + timedelta(hours=schedule.after_hours)), midnight
    assert_never(schedule)


def is_payday(day: date, schedule: Paydays = COMMON_PAYDAYS, country: str | None = None) -> bool:
    """Whether wages are likely to be in on this day: by default the 1st, the 15th, Fridays, the last business day."""
    return _is_payday(day, schedule.days_of_month, schedule.weekdays, schedule.last_business_day, country)


def _is_payday(
    day: date, days_of_month: Sequence[int], weekdays: Sequence[str], last: bool, country: str | None
) -> bool:
    if day.day in days_of_month or WEEKDAYS[day.weekday()] in weekdays:
        return True
    return last and day == last_business_day(day, country)


def spread(key: str, tries: int) -> float:
    """A number in [0, 1): always the same for a key and a number of tries, and evenly distributed."""
    return int.from_bytes(sha256(f"{key}/{tries}".encode()).digest()[:4]) / 2**32


def _delay(schedule: Delays, tries: int) -> timedelta:
    return timedelta(hours=schedule.hours[min(tries, len(schedule.hours)) - 1])


def _next_payday(schedule: Paydays, since: datetime, country: str | None, share: float) -> datetime:
    zone = zone_of(country)
    not_before = since + timedelta(hours=schedule.after_hours)
    into_the_morning = timedelta(minutes=schedule.over_minutes) * share
    named = schedule.days_of_month, schedule.weekdays, schedule.last_business_day
    day = _payday_from(not_before.astimezone(zone).date(), *named, country)
    at = _at(day, schedule.from_hour, zone) + into_the_morning
    while at < not_before:
        day = _payday_from(day + timedelta(days=1), *named, country)
        at = _at(day, schedule.from_hour, zone) + into_the_morning
    return at


@lru_cache(maxsize=16_384)
def _payday_from(
    first: date, days_of_month: tuple[int, ...], weekdays: tuple[str, ...], last: bool, country: str | None
) -> date:
    """The first payday from `first` on."""
    for day in _days_from(first):
        if _is_payday(day, days_of_month, weekdays, last, country):
            return day
    raise AssertionError("unreachable: a schedule names a payday, and every one comes again within two months")


@lru_cache(maxsize=8_192)
def _at(day: date, hour: int, zone: ZoneInfo) -> datetime:
    """The local hour of a day, in UTC."""
    return datetime.combine(day, time(hour), zone).astimezone(UTC)


def _days_from(first: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in count())
