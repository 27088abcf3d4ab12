"""When the next attempt comes: paydays in the card's own morning, delays, and a spread that is always the same."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from babel.core import get_global
from hypothesis import given
from hypothesis import strategies as st

from services.worker.recovery import Delays, Paydays, next_retry
from services.worker.recovery.schedule import DELAY_SPREAD, is_payday
from services.worker.recovery.timezones import MOST_POPULOUS_ZONE, zone_of
from tests.unit.worker.recovery.builders import OPENED

COUNTRIES = sorted(code for code in get_global("territory_zones") if len(code) == 2 and code.isalpha())
A_MINUTE = Paydays(over_minutes=1)


@pytest.mark.parametrize(
    ("since", "country", "day"),
    [
        ("2026-09-07T06:00Z", "DE", "2026-09-11"),  # Monday: the next Friday
        ("2026-09-11T12:00Z", "DE", "2026-09-15"),  # Friday noon: the 15th, a Tuesday
        ("2026-09-25T12:00Z", "DE", "2026-09-30"),  # Friday noon: the last business day, a Wednesday
        ("2026-09-30T06:00Z", "DE", "2026-10-01"),  # from there to the 1st, a Thursday
        ("2026-10-30T12:00Z", "DE", "2026-11-01"),  # the month's end is a Saturday; the 1st comes next
        ("2027-02-20T00:00Z", "DE", "2027-02-26"),  # February's last business day is a Friday too
        ("2028-02-25T12:00Z", "DE", "2028-02-29"),  # a leap year's last day, a Tuesday
        ("2026-12-31T23:30Z", "JP", "2027-01-08"),  # the 1st's morning in Tokyo is within the gap: a week on
        ("2026-12-31T23:30Z", "US", "2027-01-08"),  # as in New York, where it is 18:30 on the 31st
    ],
)
def test_the_next_payday(since: str, country: str, day: str) -> None:
    at = next_retry(A_MINUTE, datetime.fromisoformat(since), 1, country, "k")
    assert at.astimezone(zone_of(country)).date() == date.fromisoformat(day)


@pytest.mark.parametrize("month", [date(year, month, 1) for year in range(2026, 2030) for month in range(1, 13)])
def test_each_month_has_the_paydays_of_the_rule_and_no_others(month: date) -> None:
    days = [month + timedelta(days=n) for n in range(31) if (month + timedelta(days=n)).month == month.month]
    fridays = {day for day in days if day.strftime("%A") == "Friday"}
    last = [day for day in days if day.strftime("%A") not in ("Saturday", "Sunday")][-1]
    assert {day for day in days if is_payday(day)} == {days[0], days[14], last} | fridays


@pytest.mark.parametrize("country", [*COUNTRIES, None, "XX"])
def test_every_country_has_a_zone_that_loads_and_attempts_come_in_its_morning(country: str | None) -> None:
    at = next_retry(Paydays(), OPENED, 1, country, "key").astimezone(zone_of(country))
    assert 8 <= at.hour < 10
    assert is_payday(at.date())


def test_every_country_with_several_zones_has_one_named_here() -> None:
    several = {code for code in COUNTRIES if len(get_global("territory_zones")[code]) > 1}
    assert several - set(MOST_POPULOUS_ZONE) == {"AQ", "UM", "ZZ"}  # no banks, no residents, nowhere
    assert set(MOST_POPULOUS_ZONE.values()) <= available_timezones()
    for country, zone in MOST_POPULOUS_ZONE.items():
        assert zone in get_global("territory_zones")[country]


@pytest.mark.parametrize("country", [None, "", "XX", "ZZ", "AQ", "nowhere"])
def test_an_unknown_country_is_utc(country: str | None) -> None:
    assert zone_of(country) == ZoneInfo("UTC")


@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1), date(2026, 3, 29), date(2026, 10, 25)])
@pytest.mark.parametrize("country", ["US", "DE"])
def test_the_morning_is_the_local_one_on_both_sides_of_a_clock_change(day: date, country: str) -> None:
    since = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2)
    for n in range(4):
        at = next_retry(A_MINUTE, since + timedelta(days=n), 1, country, "k")
        assert at.astimezone(zone_of(country)).hour == 8


@pytest.mark.parametrize(("tries", "hours"), [(1, 2), (2, 8), (3, 24), (4, 24), (40, 24)])
def test_delays_go_up_the_ladder_and_the_last_one_repeats(tries: int, hours: int) -> None:
    wait = next_retry(Delays(hours=(2, 8, 24)), OPENED, tries, "DE", "key") - OPENED
    assert timedelta(hours=hours) <= wait < timedelta(hours=hours) * (1 + DELAY_SPREAD)


def test_many_recoveries_of_one_moment_are_spread_over_the_morning() -> None:
    minutes = {
        int((next_retry(Paydays(), OPENED, 1, "DE", f"recovery-{n}") - OPENED).total_seconds() // 60)
        for n in range(2000)
    }
    assert len(minutes) == 120


schedules: st.SearchStrategy[Delays | Paydays] = st.one_of(
    st.builds(Paydays, after_hours=st.integers(1, 100), from_hour=st.integers(4, 20), over_minutes=st.integers(1, 180)),
    st.lists(st.integers(1, 1440), min_size=1, max_size=20).map(lambda hours: Delays(hours=tuple(hours))),
)


@given(
    schedules,
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.timezones()),  # noqa: DTZ001 bounds are naive
    st.integers(1, 30),
    st.sampled_from([*COUNTRIES, None]),
    st.text(max_size=40),
)
def test_the_next_attempt_is_later_soon_enough_and_always_the_same(
    schedule: Delays | Paydays, since: datetime, tries: int, country: str | None, key: str
) -> None:
    at = next_retry(schedule, since, tries, country, key)
    least = min(schedule.hours) if isinstance(schedule, Delays) else schedule.after_hours
    most = max(schedule.hours) * 1.1 if isinstance(schedule, Delays) else schedule.after_hours + 8 * 24
    assert timedelta(hours=least) <= at - since <= timedelta(hours=most)
    assert at.tzinfo is UTC
    assert at == next_retry(schedule, since.astimezone(UTC), tries, country, key)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        next_retry(Paydays(), datetime(2026, 1, 1), 1, "DE", "k")  # noqa: DTZ001 the naive one is the subject
