"""Banks that decline whatever the cause, and banks that want rest."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from console.evaluation.worlds.banks import Bank, Rest
from console.evaluation.worlds.document import ClosedHours

NEW_YORK = ZoneInfo("America/New_York")  # in January 5 hours behind UTC


def bank(*closed: dict[str, Any], zone: ZoneInfo = NEW_YORK, **given: Any) -> Bank:
    return Bank(tuple(ClosedHours.model_validate(each) for each in closed), given.pop("outages", ()), zone, **given)


def at(day: int, hour: float) -> float:
    """Of January 2026, in UTC; the 5th is a Monday."""
    return datetime(2026, 1, day, tzinfo=UTC).timestamp() + 3600 * hour


@pytest.mark.parametrize(
    ("clock", "hour", "expected"),
    [
        ("utc", 9.99, 1),
        ("utc", 10, 0),
        ("utc", 22.9, 0),
        ("utc", 23, 1),
        ("local", 14.9, 1),
        ("local", 15, 0),
        ("local", 3.9, 0),
        ("local", 4, 1),
    ],
)
def test_hours_count_by_the_clock_that_is_named(clock: str, hour: float, expected: float) -> None:
    assert bank({"from_hour": 10, "until_hour": 23, "clock": clock}).lets_through(at(6, hour)) == expected


def test_hours_go_over_midnight_and_weekdays_count_by_the_same_clock() -> None:
    nights = bank({"from_hour": 22, "until_hour": 6, "weekdays": ["saturday", "sunday"]})
    assert [nights.lets_through(at(day, 5)) for day in (9, 10, 11, 12)] == [
        1,
        0,
        0,
        1,
    ]  # their midnights, from Friday on
    assert nights.lets_through(at(11, 12)) == 1


def test_two_reasons_leave_what_both_leave() -> None:
    strict = bank(
        {"from_hour": 0, "until_hour": 12, "chance": 0.5},
        {"from_hour": 5, "until_hour": 18, "clock": "utc", "chance": 0.2},
    )
    assert strict.lets_through(at(6, 8)) == pytest.approx(0.4)
    assert strict.best == 1


def test_an_outage_ends() -> None:
    down = bank(outages=((at(6, 1), at(6, 9.5)),))
    assert [down.lets_through(at(6, hour)) for hour in (0.9, 1, 9.4, 9.5)] == [1, 0, 0, 1]


def test_drift_moves_the_hours_from_a_date_on() -> None:
    moved = bank({"from_hour": 0, "until_hour": 8, "clock": "utc"}, late=lambda day: 3 if day.day >= 7 else 0)
    assert [moved.lets_through(at(6, 2)), moved.lets_through(at(7, 2)), moved.lets_through(at(7, 10))] == [0, 1, 0]


@pytest.mark.parametrize("zone", [NEW_YORK, ZoneInfo("Asia/Kolkata"), ZoneInfo("Asia/Kathmandu")])
def test_nothing_changes_before_the_next_change(zone: ZoneInfo) -> None:
    one = bank(
        {"from_hour": 3, "until_hour": 4},
        {"from_hour": 9, "until_hour": 11, "clock": "utc"},
        zone=zone,
        outages=((at(6, 5.1), at(6, 7.7)),),
    )
    moment = at(6, 0)
    while moment < at(7, 0):
        change = one.next_change(moment)
        assert moment < change
        for part in range(1, 20):
            between = moment + (change - moment) * part / 20
            assert one.lets_through(between) == one.lets_through(moment)
        moment = change


def test_rest_counts_from_the_last_attempt_and_over_the_last_days() -> None:
    assert Rest(10.0).over_at([0.0, 7.0]) == 17.0
    few = Rest(1.0, most=2, within=100.0)
    assert few.over_at([0.0]) == 1.0
    assert few.over_at([0.0, 7.0]) == 100.0
    assert few.over_at([0.0, 7.0, 150.0]) == 151.0
