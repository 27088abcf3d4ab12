"""What follows from kept numbers: what is at risk, the rate, the caps, and Stripe's window for usage."""

from datetime import UTC, datetime, timedelta

import pytest

from services.ledger.stats.endpoints import capped, totals_of
from services.ledger.tasks.endpoints import has_version
from services.ledger.usage.endpoints import within_window

ROW = {
    "currency": "usd",
    "failed_cents": 1000,
    "failed_count": 10,
    "recovered_cents": 250,
    "recovered_count": 3,
    "refunded_cents": 0,
    "disputed_cents": 0,
    "won_back_cents": 0,
    "exhausted_cents": 100,
    "exhausted_count": 1,
    "stopped_cents": 50,
    "stopped_count": 1,
    "attempt_count": 17,
    "message_count": 4,
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_what_has_not_ended_is_at_risk() -> None:
    totals = totals_of(ROW)
    assert (totals.at_risk.amount, totals.at_risk.count) == (600, 5)
    assert totals.recovery_rate == 0.25
    assert (totals.attempts, totals.messages) == (17, 4)


def test_money_that_was_taken_back_is_neither_recovered_nor_at_risk_again() -> None:
    totals = totals_of(
        ROW | {"recovered_cents": 120, "refunded_cents": 100, "disputed_cents": 50, "won_back_cents": 20}
    )
    assert (totals.recovered.amount, totals.recovered.count) == (120, 3)
    assert (totals.refunded, totals.disputed, totals.won_back) == (100, 50, 20)
    assert totals.at_risk.amount == 600
    assert totals.recovery_rate == 0.12


def test_there_is_no_rate_of_nothing() -> None:
    assert totals_of(dict.fromkeys(ROW, 0) | {"currency": "usd"}).recovery_rate is None


@pytest.mark.parametrize(("counted", "shown", "more"), [(0, 0, False), (10_000, 10_000, False), (10_001, 10_000, True)])
def test_a_count_says_whether_there_are_more(counted: int, shown: int, more: bool) -> None:
    assert (capped(counted).count, capped(counted).more) == (shown, more)


@pytest.mark.parametrize(
    ("offset", "taken"),
    [
        (timedelta(days=-35), True),
        (timedelta(days=-35, seconds=-1), False),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5, seconds=1), False),
    ],
)
def test_usage_is_taken_35_days_back_and_5_minutes_ahead(offset: timedelta, taken: bool) -> None:
    assert within_window(NOW + offset, NOW) is taken


@pytest.mark.parametrize(
    ("if_match", "through"),
    [
        (None, True),
        ("*", True),
        ('"7"', True),
        ('"6", "7"', True),
        ('"6"', False),
        ("7", False),
        ('W/"7"', False),
        ("", False),
        ('"77"', False),
    ],
)
def test_only_the_version_that_is_there_is_let_through(if_match: str | None, through: bool) -> None:
    assert has_version(if_match, "7") is through
