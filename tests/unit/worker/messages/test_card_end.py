"""One rule for when a card ends: the brain tries by it, and the warnings go out by it."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.worker.messages.expiry import CardDate
from services.worker.recovery import end_of_card
from shared.ids import PaymentMethodId


@given(st.integers(2020, 2060), st.integers(1, 12))
def test_a_card_is_good_through_its_last_month_in_the_last_time_zone(year: int, month: int) -> None:
    end = end_of_card(year, month)
    assert (end.day, end.hour, end.tzinfo) == (1, 12, UTC)
    assert (end.year, end.month) == ((year, month + 1) if month < 12 else (year + 1, 1))
    assert CardDate(PaymentMethodId("pm_1"), year, month).ends == end


def test_december_ends_in_january() -> None:
    assert end_of_card(2026, 12) == datetime(2027, 1, 1, 12, tzinfo=UTC)
