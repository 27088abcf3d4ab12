"""When to try again, by the cause of the last decline. No clock and no chance: equal inputs give equal times."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from itertools import count
from typing import assert_never

from services.worker.recovery.model import as_utc
from services.worker.recovery.policy import Delays, Paydays, Schedule
from services.worker.recovery.timezones import zone_of

FRIDAY = 4
# A delay is drawn out by up to this part of itself, so that what failed together is not retried together.
DELAY_SPREAD = 0.1


def next_retry(schedule: Schedule, since: datetime, tries: int, country: str | None, key: str) -> datetime:
    """The time (UTC) of the next attempt after one at `since`; always later than `since`.

    `tries` (1 or more) is how many attempts this method has seen. `key` and `tries` decide the place within the spread.
    """
    since = as_utc("since", since)
    share = _share(f"{key}/{tries}")
    match schedule:
        case Delays():
            hours = schedule.hours[min(tries, len(schedule.hours)) - 1]
            return since + timedelta(hours=hours) * (1 + DELAY_SPREAD * share)
        case Paydays():
            return _next_payday(schedule, since, country, share)
    assert_never(schedule)


def is_payday(day: date) -> bool:
    """Whether wages are likely to be in on this day: the 1st, the 15th, a Friday, the month's last business day."""
    return day.day in (1, 15) or day.weekday() == FRIDAY or day == _last_business_day(day)


def _next_payday(schedule: Paydays, since: datetime, country: str | None, share: float) -> datetime:
    zone = zone_of(country)
    not_before = since + timedelta(hours=schedule.after_hours)
    into_the_morning = timedelta(minutes=schedule.over_minutes) * share
    for day in _days_from(not_before.astimezone(zone).date()):
        at = datetime.combine(day, time(schedule.from_hour), zone).astimezone(UTC) + into_the_morning
        if is_payday(day) and at >= not_before:
            return at
    raise AssertionError("unreachable: every week has a Friday")


def _days_from(first: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in count())


def _last_business_day(day: date) -> date:
    first_of_next = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    last = first_of_next - timedelta(days=1)
    return last - timedelta(days=max(0, last.weekday() - FRIDAY))


def _share(key: str) -> float:
    """A number in [0, 1) that is always the same for a key and evenly spread over keys."""
    return int.from_bytes(sha256(key.encode()).digest()[:4]) / 2**32
