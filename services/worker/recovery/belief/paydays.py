"""When wages may arrive: each rule says on which days of a calendar they do.

A rule is told to its reader by its name. Wages that are due on a day of the month which is no business day are usually
paid on the one before, sometimes on the day all the same, or on the one after: each is a rule of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from typing import Final

from services.worker.recovery.business_days import (
    A_DAY,
    business_day_after,
    business_day_before,
    first_of_next,
    is_business_day,
    last_business_day,
)
from shared.policy.paydays import ORDINALS, PAIRS, PAYDAYS

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class PaydayRule:
    """A way in which wages are paid. `is_payday(day, country)`; `name` completes "paid …"."""

    name: str
    is_payday: Callable[[date, str | None], bool]


IsPayday = Callable[[date, str | None], bool]
_Moved = Callable[[date, str | None], date]

CONVENTIONS: Final[Mapping[str, _Moved]] = {
    "before": business_day_before,
    "same": lambda day, _: day,
    "after": business_day_after,
}
"""When wages are paid that are due on a day of the month which is no business day."""


@cache
def _paid_for(year: int, month: int, number: int, convention: str, country: str | None) -> date:
    """The day on which wages that are due on this day of the month are paid; the last one where it has fewer days."""
    last = first_of_next(date(year, month, 1)) - A_DAY
    return CONVENTIONS[convention](last.replace(day=min(number, last.day)), country)


def _on_day(number: int, convention: str) -> IsPayday:
    def is_payday(day: date, country: str | None) -> bool:
        # The 1st may be paid in the month before, the 31st in the month after.
        near = (day, first_of_next(day), day.replace(day=1) - A_DAY)
        return any(day == _paid_for(each.year, each.month, number, convention, country) for each in near)

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


def _either(first: int, second: int, convention: str) -> IsPayday:
    one, other = _on_day(first, convention), _on_day(second, convention)
    return lambda day, country: one(day, country) or other(day, country)


def _of_month() -> Iterator[tuple[str, str, Callable[[str], IsPayday]]]:
    """The rules about days of the month: the name of each, how it is told, and its rule by a convention."""
    for number in range(1, 32):
        yield f"day_{number}", f"on the {number}.", partial(_on_day, number)
    for first, second in PAIRS:
        yield f"days_{first}_{second}", f"on the {first}. and the {second}.", partial(_either, first, second)


def _rules() -> Mapping[str, PaydayRule]:
    found: dict[str, PaydayRule] = {}
    for name, told, by_convention in _of_month():
        for convention in CONVENTIONS:
            found[variant(name, convention)] = PaydayRule(told, by_convention(convention))
    found["last_business_day"] = PaydayRule("on the last business day", lambda day, c: day == last_business_day(day, c))
    for number, word in ORDINALS.items():
        found[f"business_day_{number}"] = PaydayRule(f"on the {word} business day", _is_nth_business_day(number))
    for weekday, name in enumerate(_WEEKDAYS):
        key = name.lower()
        found[f"weekly_{key}"] = PaydayRule(f"every {name}", _is_weekday(weekday))
        found[f"last_{key}"] = PaydayRule(f"on the last {name} of the month", _is_last(weekday))
        for week in (0, 1):
            found[f"biweekly_{key}_{week}"] = PaydayRule(f"every other {name}", _is_every_other(weekday, week))
    return found


def variant(name: str, convention: str) -> str:
    """The rule of a payday that is a day of the month, by a convention."""
    return name if convention == "before" else f"{name}/{convention}"


RULES: Final[Mapping[str, PaydayRule]] = _rules()
"""Every rule, by the payday's name in policies (`shared.policy.paydays.PAYDAYS`), with its convention if that is not
`before`."""
VARIANTS: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(rule for each in CONVENTIONS if (rule := variant(name, each)) in RULES) for name in PAYDAYS
}
"""The rules of each payday: by each of CONVENTIONS, or a single one."""
