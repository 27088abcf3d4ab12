"""The local times at which an attempt may be made."""

import warnings
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import holidays

from services.worker.recovery.model import as_utc
from services.worker.recovery.timezones import zone_of
from shared.policy import WEEKDAYS, AttemptTimes

_A_DAY = timedelta(days=1)
# Longer than any likely run of closed days: a policy with one open weekday, on which a holiday falls twice in a row.
_LOOK_AHEAD_DAYS = 60


def next_open(times: AttemptTimes, at: datetime, country: str | None) -> datetime:
    """The first time at or after `at` (UTC) at which an attempt may be made; `country` is the card's.

    If all days of two months are closed, they count as open: a calendar must not end a recovery.
    """
    at = as_utc("at", at)
    if times.always:
        return at
    zone = zone_of(country) if times.zone == "card_country" else ZoneInfo(times.zone)
    calendar = (times.holidays_of or country) if times.skip_holidays else None
    local = at.astimezone(zone)
    for number in range(_LOOK_AHEAD_DAYS):
        day = local.date() + number * _A_DAY
        if WEEKDAYS[day.weekday()] not in times.weekdays or is_holiday(day, calendar):
            continue
        for begin, end in _open_hours(times, day, zone):
            if end > at:
                return max(begin, at)
    return at


def is_holiday(day: date, country: str | None) -> bool:
    """Whether the day is a public holiday in the whole country (ISO 3166 alpha-2); False when that is unknown."""
    return country is not None and day in _holidays(country.upper(), day.year)


def _open_hours(times: AttemptTimes, day: date, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The spans (UTC) of a local day outside its quiet hours, in order."""
    first, last = times.quiet_from, times.quiet_until
    if first == last:
        spans = [(0, 24)]
    elif first < last:
        spans = [(0, first), (last, 24)]
    else:
        spans = [(last, first)]
    return [(_hour(day, begin, zone), _hour(day, end, zone)) for begin, end in spans if begin < end]


def _hour(day: date, hour: int, zone: ZoneInfo) -> datetime:
    days, hour = divmod(hour, 24)
    return datetime.combine(day + days * _A_DAY, time(hour), zone).astimezone(UTC)


@cache
def _holidays(country: str, year: int) -> AbstractSet[date]:
    try:
        with warnings.catch_warnings():
            # Of some countries it knows the holidays of some years only, and warns.
            warnings.simplefilter("ignore", UserWarning)
            return frozenset(holidays.country_holidays(country, years=year))
    except NotImplementedError:  # the library has no calendar of this country
        return frozenset()
