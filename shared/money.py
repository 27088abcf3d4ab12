"""Money: whole minor units of one currency. Amounts of two currencies cannot be added."""

from dataclasses import dataclass
from typing import Self


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

    def __bool__(self) -> bool:
        return self.amount != 0
