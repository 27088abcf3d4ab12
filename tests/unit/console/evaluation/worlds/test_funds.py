"""Money comes with wages and goes."""

from random import Random
from statistics import mean

import pytest

from console.evaluation.worlds.document import Balance, Stay
from console.evaluation.worlds.funds import DAY, spans


def draws() -> Random:
    return Random(1)  # noqa: S311 - a test has to be repeatable


BALANCE = Balance(kind="balance", source="assumed", days=5, median=5_000, spread=1.0)


def test_money_stays_so_many_days_on_average() -> None:
    stay = Stay(kind="stay", source="assumed", days=3)
    found = [ends - begins for begins, ends in spans(stay, [0.0] * 20_000, 1_000, draws())]
    assert mean(found) / DAY == pytest.approx(3, rel=0.03)


def test_a_small_invoice_clears_at_more_paydays_and_for_longer() -> None:
    small, large = (list(spans(BALANCE, [0.0] * 2_000, amount, draws())) for amount in (900, 9_900))
    assert len(small) > 1.5 * len(large)
    assert mean(ends for _, ends in small) > 1.3 * mean(ends for _, ends in large)


def test_a_balance_is_spent_exponentially() -> None:
    even = Balance(kind="balance", source="assumed", days=5, median=2_718.281828459045, spread=0)
    ((begins, ends),) = spans(even, [7.0], 1_000, draws())
    assert (begins, ends) == pytest.approx((7.0, 7.0 + 5 * DAY))
    assert list(spans(even, [7.0], 2_719, draws())) == []
