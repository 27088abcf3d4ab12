"""Paydays and limits by the calendar of the card's country."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from console.evaluation.calendars import LimitWindow, Rhythm, limit_ends, paydays

NEW_YORK = ZoneInfo("America/New_York")


def local(at: float) -> str:
    return f"{datetime.fromtimestamp(at, NEW_YORK):%a %d %H:%M}"


@pytest.mark.parametrize(
    ("rhythm", "expected"),
    [
        (Rhythm.WEEKLY, ["Fri 02 05:00", "Fri 09 05:00", "Fri 16 05:00", "Fri 23 05:00", "Fri 30 05:00"]),
        (Rhythm.BIWEEKLY, ["Fri 09 05:00", "Fri 23 05:00"]),
        (Rhythm.SEMIMONTHLY, ["Thu 01 05:00", "Thu 15 05:00"]),
        (Rhythm.MONTHLY, ["Fri 30 05:00"]),
    ],
)
def test_wages_of_january_2026_arrive_in_the_early_morning(rhythm: Rhythm, expected: list[str]) -> None:
    assert [local(at) for at in paydays(rhythm, "US", date(2026, 1, 1), 31)] == expected


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (LimitWindow.DAY, "Thu 29 00:00"),
        (LimitWindow.WEEK, "Mon 02 00:00"),
        (LimitWindow.MONTH, "Sun 01 00:00"),
    ],
)
def test_a_limit_begins_anew_at_local_midnight(window: LimitWindow, expected: str) -> None:
    # 3 in the morning of the 29th in UTC is the evening of the 28th in New York.
    reached = datetime(2026, 1, 29, 3, tzinfo=UTC).timestamp()
    assert local(limit_ends(window, "US", reached)) == expected
