"""Where a merchant's customers differ from what is believed before anything is seen, in plain sentences.

Something is said only where it is clear: the recoveries are learned from in two halves, each by itself and from the
prior, never from what other merchants have taught; both halves must say so. The share that is told is their mean.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.worker.recovery.belief.learning import REMEMBERED, Outcome, learn
from services.worker.recovery.belief.parts import BANKS, STAYS, WEEKEND, Belief
from services.worker.recovery.belief.paydays import RULES
from services.worker.recovery.belief.prior import prior_among
from shared.policy import DeclineCause
from shared.policy.paydays import PAYDAYS

ENOUGH: Final = 100
"""Below so many recoveries nothing is said."""
# A share is told if in both halves it is at least this, and above what was expected by so much and so many times.
_LEAST, _ABOVE, _TIMES = 0.25, 0.15, 2.0
_MOST: Final = 0.5
# The day is told exactly if most of those around it are paid on it.
_ON_THE_DAY: Final = 0.6
_SHORT_H, _LONG_H = 30.0, 200.0
_HOURS: Final = 24


class About(StrEnum):
    """What a difference is about: when wages come, how long money stays, when banks decline, when customers answer."""

    PAYDAY = "payday"
    STAY = "stay"
    BANK_HOURS = "bank_hours"
    WEEKEND = "weekend"
    MESSAGE_HOURS = "message_hours"


@dataclass(frozen=True, slots=True)
class Difference:
    """A sentence for the merchant, and its figures: shares from 0 to 1, as learned and as expected."""

    about: About
    text: str
    share: float
    expected: float


def differences(outcomes: Sequence[Outcome], now: datetime) -> tuple[Difference, ...]:
    """What is clearly different at `now`, by these outcomes; paydays first. To learn from them twice takes as long.

    Of banks the declines for missing funds say nothing here: that money is gone by the afternoon of the payday looks as
    if banks declined in the afternoon.
    """
    latest = sorted(outcomes, key=lambda each: each.last_at)[-REMEMBERED:]
    expected = prior_among(Counter(each.traits.country for each in latest))
    found: list[Difference] = []
    if len(latest) >= ENOUGH:
        one, other = _halves(latest, now)
        found += _paydays(one.paydays, other.paydays, expected.paydays)
        found += _stays(one.stays, other.stays, expected.stays)
    others = [each for each in latest if each.cause is not DeclineCause.INSUFFICIENT_FUNDS]
    if len(others) >= ENOUGH:
        one, other = _halves(others, now)
        found += _hours(one, other, expected)
        found += _weekends(one, other, expected)
    return tuple(found)


def _halves(outcomes: Sequence[Outcome], now: datetime) -> tuple[Belief, Belief]:
    """What every second of them says, and what the others say."""
    return learn(outcomes[::2], now).everywhere, learn(outcomes[1::2], now).everywhere


def _weekends(one: Belief, other: Belief, before: Belief) -> Iterator[Difference]:
    weekend = BANKS.index(WEEKEND)
    if found := _clear(one.banks[weekend], other.banks[weekend], before.banks[weekend]):
        yield Difference(About.WEEKEND, f"Banks seem to decline at weekends ({_figures(*found)}).", *found)


def _clear(one: float, other: float, expected: float, times: float = _TIMES) -> tuple[float, float] | None:
    """(share, expected) if both halves differ clearly from what was expected; else None."""
    least = max(_LEAST, expected + _ABOVE, expected * times)
    return ((one + other) / 2, expected) if min(one, other) >= least else None


# --- Paydays ----------------------------------------------------------------------------------------------------------


def _paydays(one: Mapping[str, float], other: Mapping[str, float], before: Mapping[str, float]) -> Iterator[Difference]:
    told: set[str] = set()
    for name in sorted(PAYDAYS, key=lambda each: -one.get(each, 0.0) - other.get(each, 0.0)):
        if name in told:
            continue
        group = _around(name)
        on_it = sum(each.get(name, 0.0) for each in (one, other))
        around = sum(each.get(day, 0.0) for each in (one, other) for day in group)
        exact = on_it >= _ON_THE_DAY * around
        asked = {name} if exact else group
        found = _clear(*(sum(each.get(day, 0.0) for day in asked) for each in (one, other, before)))
        if found is None:
            continue
        told |= group
        many = "Most" if found[0] >= _MOST else "Many"
        when = _ordinal(RULES[name].name if exact else RULES[name].name.replace("on the", "around the", 1))
        text = f"{many} of your customers seem to be paid {when} ({_figures(*found, ' of those who wait for wages')})."
        yield Difference(About.PAYDAY, text, *found)


def _around(name: str) -> set[str]:
    """The payday, and the days beside it where it is a day of the month."""
    day = re.fullmatch(r"day_(\d+)", name)
    if day is None:
        return {name}
    return {f"day_{number}" for number in range(int(day[1]) - 1, int(day[1]) + 2)} & set(PAYDAYS)


def _ordinal(text: str) -> str:
    """`on the 25.` as `on the 25th`."""

    def spoken(number: re.Match[str]) -> str:
        value = int(number[1])
        ending = "th" if value in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
        return f"{value}{ending}"

    return re.sub(r"(\d+)\.", spoken, text)


# --- Money and banks --------------------------------------------------------------------------------------------------


def _stays(one: Sequence[float], other: Sequence[float], before: Sequence[float]) -> Iterator[Difference]:
    short = [number for number, (_, ends) in enumerate(STAYS) if ends <= _SHORT_H]
    long = [number for number, (begins, _) in enumerate(STAYS) if begins >= _LONG_H]
    for places, text in ((short, "seems to be gone within a day or so"), (long, "seems to stay for more than a week")):
        # Little more than a third can be expected of each: twice that would never be seen.
        first, second, expected = (sum(each[place] for place in places) for each in (one, other, before))
        if found := _clear(first, second, expected, times=1.0):
            figures = _figures(*found, " of those who wait for wages")
            yield Difference(About.STAY, f"Your customers' money {text} after they are paid ({figures}).", *found)


def _hours(one: Belief, other: Belief, before: Belief) -> Iterator[Difference]:
    """The longest run of hours at which clearly more banks decline than was expected."""
    declining = [[_closed(each, hour) for each in (one, other, before)] for hour in range(_HOURS)]
    clear = [_clear(*each) is not None for each in declining]
    if not any(clear) or all(clear):
        return
    runs = []
    for first in range(_HOURS):
        if clear[first] and not clear[first - 1]:
            length = next(n for n in range(1, _HOURS + 1) if not clear[(first + n) % _HOURS])
            runs.append((length, first))
    length, first = max(runs)
    hours = [declining[(first + n) % _HOURS] for n in range(length)]
    share = sum(a + b for a, b, _ in hours) / 2 / length
    expected = sum(each for _, _, each in hours) / length
    until = (first + length) % _HOURS
    text = f"Banks seem to decline from {first} to {until}, by your customers' clocks ({_figures(share, expected)})."
    yield Difference(About.BANK_HOURS, text, share, expected)


def _closed(belief: Belief, hour: int) -> float:
    """The share of banks that decline at a local hour."""
    return sum(
        share
        for bank, share in zip(BANKS, belief.banks, strict=True)
        if isinstance(bank, tuple) and (hour - bank[0]) % _HOURS < bank[1]
    )


def _figures(share: float, expected: float, of_whom: str = "") -> str:
    return f"{share:.0%}{of_whom}; {expected:.0%} expected"
