"""On which days wages arrive, by the rules that policies and the belief name."""

from datetime import date, timedelta

import pytest

from services.worker.recovery.belief.parts import among
from services.worker.recovery.belief.paydays import RULES, VARIANTS
from services.worker.recovery.belief.prior import KNOWN, payday_shares
from shared.policy.paydays import PAYDAYS

YEAR = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]


def paid(rule: str, month: int, country: str | None = None) -> list[int]:
    """The paydays of a month of 2026."""
    return [day.day for day in YEAR if day.month == month and RULES[rule].is_payday(day, country)]


def test_policies_name_every_payday_and_no_other() -> None:
    assert {rule for rules in VARIANTS.values() for rule in rules} == RULES.keys()
    assert VARIANTS.keys() == set(PAYDAYS)
    told = {rule.name for rule in RULES.values()}
    assert len(told) == len(PAYDAYS) - 7  # even and odd weeks read the same, and all rules of a payday


@pytest.mark.parametrize(
    ("rule", "month", "days"),
    [
        ("day_25", 9, [25]),  # a Friday
        ("day_25", 10, [23]),  # a Sunday: the Friday before
        ("day_31", 2, [27]),  # the 28th is a Saturday
        ("day_1", 7, [1, 31]),  # the 1st of August is a Saturday, and paid in July
        ("day_1", 8, []),
        ("last_business_day", 5, [29]),
        ("business_day_5", 9, [7]),
        ("business_day_1", 8, [3]),
        ("last_friday", 9, [25]),
        ("last_friday", 10, [30]),
        ("weekly_monday", 9, [7, 14, 21, 28]),
        ("days_1_15", 9, [1, 15]),
        ("days_15_31", 9, [15, 30]),
        ("day_25/same", 10, [25]),
        ("day_25/after", 10, [26]),
        ("day_31/after", 5, []),  # a Sunday: the 1st of June
        ("day_31/after", 6, [1, 30]),
        ("day_1/same", 8, [1]),
        ("day_1/after", 8, [3]),
    ],
)
def test_the_days_of_a_month(rule: str, month: int, days: list[int]) -> None:
    assert paid(rule, month) == days


def test_a_public_holiday_is_no_business_day() -> None:
    assert paid("day_1", 5, None) == [1]  # a Friday
    assert paid("day_1", 5, "DE") == []  # Labour Day: paid on the 30th of April
    assert paid("day_1", 4, "DE") == [1, 30]


def test_every_other_week_alternates_and_both_together_are_every_week() -> None:
    even, odd = ({day for day in YEAR if RULES[f"biweekly_friday_{week}"].is_payday(day, None)} for week in (0, 1))
    assert even.isdisjoint(odd)
    assert even | odd == {day for day in YEAR if RULES["weekly_friday"].is_payday(day, None)}
    assert all(day + timedelta(days=14) in even for day in even if day < date(2026, 12, 1))


@pytest.mark.parametrize("country", [*KNOWN, "DE", "JP", None, "XX"])
@pytest.mark.parametrize("known", [{}, {"day_25": 0.5}, {"weekly_monday": 1.0}, {"day_7": 0.4, "last_friday": 0.6}])
def test_shares_are_of_all_customers_and_every_day_of_the_month_is_possible(
    country: str | None, known: dict[str, float]
) -> None:
    shares = among(payday_shares(country), known)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares.keys() <= set(PAYDAYS)
    assert all(shares[name] >= share for name, share in known.items())
    if sum(known.values()) < 1:
        assert all(shares[f"day_{day}"] > 0 for day in range(1, 32))
