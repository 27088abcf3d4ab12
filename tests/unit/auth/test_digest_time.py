"""The first weekly digest comes on the Monday after the merchant connected, 08:00 UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.merchants import next_digest_at

EXAMPLES = [
    ("2027-03-10T15:00", "2027-03-15T08:00"),  # a Wednesday
    ("2027-03-14T23:59", "2027-03-15T08:00"),  # the Sunday before
    ("2027-03-15T07:59", "2027-03-15T08:00"),  # early on the Monday itself
    ("2027-03-15T08:00", "2027-03-22T08:00"),  # exactly then: the next one
    ("2027-12-31T12:00", "2028-01-03T08:00"),
]


@pytest.mark.parametrize(("now", "then"), EXAMPLES)
def test_examples(now: str, then: str) -> None:
    assert next_digest_at(datetime.fromisoformat(now + "+00:00")) == datetime.fromisoformat(then + "+00:00")


zones = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))


@given(st.datetimes(datetime(2000, 1, 3), datetime(2100, 1, 1), timezones=zones))  # noqa: DTZ001 - bounds of local times
def test_it_is_the_next_monday_morning_in_utc_wherever_now_is_told(now: datetime) -> None:
    then = next_digest_at(now)
    assert (then.tzinfo, then.weekday(), then.hour, then.minute, then.second) == (UTC, 0, 8, 0, 0)
    assert timedelta(0) < then - now <= timedelta(days=7)
