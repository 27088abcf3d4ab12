"""Money: whole minor units of one currency. Amounts of two currencies cannot be added.

How many digits of an amount stand behind the point is Stripe's to say, and known here alone: `decimals`. ISO 4217 and
CLDR have other numbers for some currencies, so nobody else may ask them.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from babel.numbers import format_currency, get_currency_precision

# Every other currency has two. Source: https://docs.stripe.com/currencies, read November 2026. ISK and UGX have no
# minor unit any more, but Stripe writes them with two digits, both 0 (its special cases; its list of currencies without
# decimals still names UGX). HUF and TWD have two as well: only payouts are made in whole units.
ZERO_DECIMAL = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})

# Babel puts a currency code of letters next to the number without the space that CLDR asks for (currencySpacing).
_CODE_MEETS_DIGIT = re.compile(r"(?<=[A-Z])(?=\d)|(?<=\d)(?=[A-Z])")


class CurrencyMismatchError(ValueError):
    """Two amounts of different currencies met in one sum or comparison."""


@dataclass(frozen=True, slots=True)
class Money:
    """`amount` in the currency's minor unit (cents; whole yen), `currency` as Stripe writes it: lowercase ISO 4217."""

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount) is not int:
            raise TypeError(f"an amount is a whole number of minor units, not {self.amount!r}")
        if not (len(self.currency) == 3 and self.currency.isascii() and self.currency.isalpha()):
            raise ValueError(f"a currency is three letters (ISO 4217), not {self.currency!r}")
        if not self.currency.islower():
            raise ValueError(f"a currency is written in lowercase, not {self.currency!r}")

    def _same(self, other: Self) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatchError(f"{self.currency} and {other.currency} cannot be combined")

    def __add__(self, other: Self) -> "Money":
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Self) -> "Money":
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def __lt__(self, other: Self) -> bool:
        self._same(other)
        return self.amount < other.amount

    def __le__(self, other: Self) -> bool:
        self._same(other)
        return self.amount <= other.amount

    @property
    def major_units(self) -> Decimal:
        """The amount in major units, exactly: 4200 isk are 42, 4200 jpy are 4200, 4200 kwd are 4.2."""
        return Decimal(self.amount).scaleb(-decimals(self.currency))


def decimals(currency: str) -> int:
    """How many digits of Stripe's amounts in this currency (lowercase) stand behind the point."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def readable(amount: Money, locale: str = "en_US", *, whole: bool = False) -> str:
    """`amount` with its currency's sign, as people write it in `locale`; with `whole`, rounded to major units.

    Otherwise nothing is rounded away: 1,500.50 RSD are written so, although CLDR gives that currency no decimals.
    """
    code, value = amount.currency.upper(), amount.major_units
    if whole:
        text = format_currency(value, code, "¤#,##0", locale=locale, currency_digits=False)
    else:
        usual = value == round(value, get_currency_precision(code))
        text = format_currency(value, code, locale=locale, currency_digits=usual)
    return _CODE_MEETS_DIGIT.sub("\xa0", str(text))
