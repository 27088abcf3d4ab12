"""When wages may arrive: each rule says on which days of a calendar they do.

A rule is told to its reader by its name. Rules about days of the month mean the business day before, where that day is
none: wages that are due on a weekend are usually paid before it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Final

from services.worker.recovery.business_days import (
    A_DAY,
    business_day_before,
    first_of_next,
    is_business_day,
    last_business_day,
)
from shared.policy.paydays import ORDINALS, PAIRS

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class PaydayRule:
    """A way in which wages are paid. `is_payday(day, country)`; `name` completes "paid …"."""

    name: str
    is_payday: Callable[[date, str | None], bool]


@cache
def _paid_for(year: int, month: int, number: int, country: str | None) -> date:
    """The day on which wages that are due on this day of the month are paid; the last one where it has fewer days."""
    last = first_of_next(date(year, month, 1)) - A_DAY
    return business_day_before(last.replace(day=min(number, last.day)), country)


def _on_day(number: int) -> Callable[[date, str | None], bool]:
    def is_payday(day: date, country: str | None) -> bool:
        following = first_of_next(day)  # the 1st may be paid in the month before
        return day in (
            _paid_for(day.year, day.month, number, country),
            _paid_for(following.year, following.month, number, country),
        )

    return is_payday


@cache
def _nth_business_day(year: int, month: int, number: int, country: str | None) -> date:
    day = date(year, month, 1)
    while True:
        number -= is_business_day(day, country)
        if number == 0:
            return day
        day += A_DAY


def _is_nth_business_day(number: int) -> Callable[[date, str | None], bool]:
    return lambda day, country: day == _nth_business_day(day.year, day.month, number, country)


def _is_last(weekday: int) -> Callable[[date, str | None], bool]:
    return lambda day, _: day.weekday() == weekday and (day + 7 * A_DAY).month != day.month


def _is_weekday(weekday: int) -> Callable[[date, str | None], bool]:
    return lambda day, _: day.weekday() == weekday


def _is_every_other(weekday: int, week: int) -> Callable[[date, str | None], bool]:
    return lambda day, _: day.weekday() == weekday and day.toordinal() // 7 % 2 == week


def _either(first: int, second: int) -> Callable[[date, str | None], bool]:
    one, other = _on_day(first), _on_day(second)
    return lambda day, country: one(day, country) or other(day, country)


def _rules() -> Mapping[str, PaydayRule]:
    found = {f"day_{n}": PaydayRule(f"on the {n}.", _on_day(n)) for n in range(1, 32)}
    found["last_business_day"] = PaydayRule("on the last business day", lambda day, c: day == last_business_day(day, c))
    for number, word in ORDINALS.items():
        found[f"business_day_{number}"] = PaydayRule(f"on the {word} business day", _is_nth_business_day(number))
    for weekday, name in enumerate(_WEEKDAYS):
        key = name.lower()
        found[f"weekly_{key}"] = PaydayRule(f"every {name}", _is_weekday(weekday))
        found[f"last_{key}"] = PaydayRule(f"on the last {name} of the month", _is_last(weekday))
        for week in (0, 1):
            found[f"biweekly_{key}_{week}"] = PaydayRule(f"every other {name}", _is_every_other(weekday, week))
    for first, second in PAIRS:
        name = f"on the {first}. and the {second}."
        found[f"days_{first}_{second}"] = PaydayRule(name, _either(first, second))
    return found


RULES: Final[Mapping[str, PaydayRule]] = _rules()
"""Every rule, by its name in policies (`shared.policy.paydays.PAYDAYS`)."""
