"""Money is whole minor units of one currency."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money import CurrencyMismatchError, Money

amounts = st.integers(-(10**15), 10**15)


@given(amounts, amounts)
def test_sums_and_differences_are_exact(one: int, other: int) -> None:
    total = Money(one, "usd") + Money(other, "usd")
    assert total == Money(one + other, "usd")
    assert total - Money(other, "usd") == Money(one, "usd")


@given(amounts, amounts)
def test_amounts_of_one_currency_are_ordered(one: int, other: int) -> None:
    left, right = Money(one, "jpy"), Money(other, "jpy")
    assert (left < right, left <= right, left > right, left >= right) == (
        one < other,
        one <= other,
        one > other,
        one >= other,
    )


@pytest.mark.parametrize("operation", ["__add__", "__sub__", "__lt__", "__le__"])
def test_two_currencies_never_meet(operation: str) -> None:
    with pytest.raises(CurrencyMismatchError, match="usd and eur"):
        getattr(Money(1, "usd"), operation)(Money(1, "eur"))


def test_the_same_number_of_two_currencies_is_not_the_same_money() -> None:
    assert Money(1, "usd") != Money(1, "eur")
    assert len({Money(1, "usd"), Money(1, "eur"), Money(1, "usd")}) == 2


def test_nothing_is_false() -> None:
    assert [bool(Money(amount, "usd")) for amount in (-1, 0, 1)] == [True, False, True]


@pytest.mark.parametrize("amount", [1.0, "1", None, True, 1j])
def test_an_amount_is_a_whole_number(amount: object) -> None:
    with pytest.raises(TypeError, match="whole number"):
        Money(amount, "usd")  # type: ignore[arg-type]  # what the types forbid, data may bring


@pytest.mark.parametrize("currency", ["", "us", "usdx", "USD", "Usd", "u$d", "üsd", "us1", "us\n"])
def test_a_currency_is_three_lowercase_letters(currency: str) -> None:
    with pytest.raises(ValueError, match="a currency is"):
        Money(1, currency)


def test_money_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Money(1, "usd").amount = 2  # type: ignore[misc]  # frozen: that is what is tested
