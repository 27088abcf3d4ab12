"""Money is whole minor units of one currency."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from babel.numbers import list_currencies
from hypothesis import given
from hypothesis import strategies as st

from shared.money import THREE_DECIMAL, ZERO_DECIMAL, CurrencyMismatchError, Money, decimals, readable
from simulator import currencies

ROOT = Path(__file__).parents[3]
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


def test_no_amount_is_false() -> None:
    assert [bool(Money(amount, "usd")) for amount in (-1, 0, 1)] == [True, True, True]


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


@pytest.mark.parametrize("currency", sorted(code.lower() for code in list_currencies() if len(code) == 3))
def test_every_currency_has_the_digits_that_stripe_charges_it_with(currency: str) -> None:
    assert decimals(currency) == currencies.decimals(currency)
    assert Money(150_050, currency).major_units * 10 ** currencies.decimals(currency) == 150_050


def test_stripes_special_cases_have_two_digits() -> None:
    assert [decimals(code) for code in ("isk", "ugx", "huf", "twd")] == [2, 2, 2, 2]
    assert not ZERO_DECIMAL & THREE_DECIMAL


@pytest.mark.parametrize("currency", sorted(code.lower() for code in list_currencies() if len(code) == 3))
@pytest.mark.parametrize("minor", [1, 150_050, 200_000])
def test_nothing_of_an_amount_is_rounded_away(currency: str, minor: int) -> None:
    """Also where CLDR gives a currency fewer digits than Stripe charges it with: RSD, ALL, LBP, …"""
    money = Money(minor, currency)
    digits = readable(money).lstrip("-")
    number = re.search(r"[\d,]+(\.\d+)?", digits)
    assert number is not None
    assert Decimal(number[0].replace(",", "")) == money.major_units


@pytest.mark.parametrize(
    ("amount", "locale", "text"),
    [
        (Money(4_200, "usd"), "en_US", "$42.00"),
        (Money(4_200, "jpy"), "en_US", "¥4,200"),
        (Money(4_200, "kwd"), "en_US", "KWD\xa04.200"),
        (Money(4_200, "isk"), "en_US", "ISK\xa042"),
        (Money(150_000, "ugx"), "en_US", "UGX\xa01,500"),
        (Money(150_050, "huf"), "en_US", "HUF\xa01,500.50"),
        (Money(150_050, "twd"), "en_US", "NT$1,500.50"),
        (Money(150_050, "rsd"), "en_US", "RSD\xa01,500.50"),
        (Money(150_000, "rsd"), "en_US", "RSD\xa01,500"),
        (Money(150_050, "clp"), "en_US", "CLP\xa0150,050"),
        (Money(150_050, "mga"), "en_US", "MGA\xa0150,050"),
        (Money(150_050, "bhd"), "en_US", "BHD\xa0150.050"),
        (Money(0, "eur"), "en_US", "€0.00"),
        (Money(-150, "gbp"), "en_US", "-£1.50"),
        (Money(123_456, "eur"), "de_DE", "1.234,56\xa0€"),
        (Money(4_200, "kwd"), "de_DE", "4,200\xa0KWD"),
        (Money(123_456, "brl"), "pt_BR", "R$\xa01.234,56"),
        (Money(4_200, "jpy"), "ja_JP", "￥4,200"),
        (Money(123_456, "eur"), "fr_FR", "1\u202f234,56\xa0€"),
    ],
)
def test_an_amount_is_written_as_its_reader_writes_it(amount: Money, locale: str, text: str) -> None:
    assert readable(amount, locale) == text


@pytest.mark.parametrize(
    ("cents", "currency", "shown"),
    [
        (452_500, "eur", "€4,525"),
        (0, "usd", "$0"),
        (99, "gbp", "£1"),
        (1_200, "jpy", "¥1,200"),
        (5_000, "kwd", "KWD\xa05"),
        (150_000, "isk", "ISK\xa01,500"),
        (150_000, "ugx", "UGX\xa01,500"),
    ],
)
def test_an_amount_may_be_rounded_to_whole_units(cents: int, currency: str, shown: str) -> None:
    assert readable(Money(cents, currency), whole=True) == shown


def test_nobody_else_asks_a_library_for_the_digits_of_a_currency() -> None:
    """CLDR and ISO 4217 know others than Stripe: `citadel recovery show --brief` once told a hundredfold."""
    asking = [
        str(path.relative_to(ROOT))
        for room in ("console", "services", "shared", "simulator")
        for path in (ROOT / room).rglob("*.py")
        if "babel.numbers" in path.read_text(encoding="utf-8")
    ]
    assert asking == ["shared/money.py"]
