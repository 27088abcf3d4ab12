"""Paydays and limits by the calendar of the card's country."""

from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from console.evaluation.worlds.calendars import limit_ends, local_hour, paydays, run_days_of
from console.evaluation.worlds.wages import WageGroup
from services.worker.recovery.timezones import zone_of

NEW_YORK = ZoneInfo("America/New_York")
JANUARY = date(2026, 1, 1), 31
"""Its first day is a Thursday and a holiday; Monday the 19th is a holiday in the United States."""


def group(on: dict[str, Any], **given: Any) -> WageGroup:
    return WageGroup.model_validate({"share": 1, "on": on} | given)


def local(at: float, country: str = "US") -> str:
    return f"{datetime.fromtimestamp(at, zone_of(country)):%a %d %H:%M}"


def days(*moments: float, country: str = "US") -> list[int]:
    return [datetime.fromtimestamp(at, zone_of(country)).day for at in moments]


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ({"rhythm": "weekly", "weekday": "friday"}, [2, 9, 16, 23, 30]),
        ({"rhythm": "biweekly", "weekday": "friday", "weeks": "even"}, [9, 23]),
        ({"rhythm": "biweekly", "weekday": "friday", "weeks": "odd"}, [2, 16, 30]),
        ({"rhythm": "days_of_month", "days": [1, 15]}, [1, 15]),
        ({"rhythm": "last_business_day"}, [30]),
        ({"rhythm": "business_day", "number": 5}, [7]),
        ({"rhythm": "last_weekday", "weekday": "wednesday"}, [28]),
        ({"rhythm": "nth_weekday", "weekday": "wednesday", "number": 2}, [14]),
        ({"rhythm": "calendar", "dates": ["2026-01-06", "2026-01-27", "2026-03-03"]}, [6, 27]),
        ({"rhythm": "irregular", "every_days": 3}, []),
    ],
)
def test_the_paydays_of_january_2026_by_each_rhythm(on: dict[str, Any], expected: list[int]) -> None:
    assert days(*paydays(group(on), "US", *JANUARY)) == expected


def test_wages_are_there_in_the_early_morning_unless_the_group_says_when() -> None:
    on = {"rhythm": "last_business_day"}
    assert [local(at) for at in paydays(group(on), "US", *JANUARY)] == ["Fri 30 05:00"]
    assert [local(at) for at in paydays(group(on, hour=17), "US", *JANUARY)] == ["Fri 30 17:00"]


@pytest.mark.parametrize(
    ("day", "rule", "holidays", "expected"),
    [
        (25, "same", False, 25),  # a Sunday
        (25, "before", False, 23),
        (25, "after", False, 26),
        (19, "before", False, 19),  # a Monday, and a holiday
        (19, "before", True, 16),
        (19, "after", True, 20),
    ],
)
def test_a_payday_that_is_no_business_day_moves_by_the_rule(day: int, rule: str, holidays: bool, expected: int) -> None:
    on = {"rhythm": "days_of_month", "days": [day]}
    found = paydays(group(on, not_on_business_days=rule, holidays=holidays), "US", *JANUARY)
    assert days(*found) == [expected]


def test_the_31st_is_the_last_day_of_a_shorter_month() -> None:
    on = {"rhythm": "days_of_month", "days": [31]}
    assert days(*paydays(group(on), "US", date(2026, 2, 1), 59)) == [28, 31]


def test_holidays_are_no_business_days_where_they_count() -> None:
    on = {"rhythm": "business_day", "number": 1}
    assert days(*paydays(group(on), "US", *JANUARY)) == [1]
    assert days(*paydays(group(on, holidays=True), "US", *JANUARY)) == [2]


def test_shifts_add_up_and_move_paydays_over_the_ends_of_the_range() -> None:
    on = {"rhythm": "last_business_day"}  # of December the 31st, of January the 30th
    assert days(*paydays(group(on, shift_days=3), "US", *JANUARY)) == [3]
    assert days(*paydays(group(on, shift_days=3), "US", *JANUARY, lambda _: -5)) == [28]


def test_even_weeks_go_on_over_the_end_of_a_year() -> None:
    on = {"rhythm": "biweekly", "weekday": "friday", "weeks": "even"}
    found = paydays(group(on), "US", date(2025, 12, 1), 120)
    assert {round((later - earlier) / 86_400) for earlier, later in pairwise(found)} == {14}


@pytest.mark.parametrize(
    ("window", "expected"), [("day", "Thu 29 00:00"), ("week", "Mon 02 00:00"), ("month", "Sun 01 00:00")]
)
def test_a_limit_begins_anew_at_local_midnight(window: str, expected: str) -> None:
    # 3 in the morning of the 29th in UTC is the evening of the 28th in New York.
    reached = datetime(2026, 1, 29, 3, tzinfo=UTC).timestamp()
    assert local(limit_ends(window, "US", reached)) == expected


def test_runs_are_on_the_days_of_the_month_that_are_named() -> None:
    assert run_days_of((), date(2026, 1, 5), 3) == [0, 1, 2]
    assert run_days_of((1, 5), date(2026, 1, 5), 28) == [0, 27]


def test_a_quarter_of_an_hour_has_a_weekday_and_an_hour() -> None:
    at = datetime(2026, 1, 5, 0, 15, tzinfo=UTC).timestamp()
    assert local_hour(ZoneInfo("Asia/Kolkata"), int(at // 900)) == (0, 5)
    assert local_hour(NEW_YORK, int(at // 900)) == (6, 19)
