"""What was learned, taken with doubt: only of times that were tried something can be learned.

Whoever is paid on the 14th may well be able to pay on the 15th. Once most attempts are made on the 15th, nearly all
recoveries say the 15th, and nothing says that money had been there a day before, and was gone again for some. So plans
give a part of what was learned of a payday to those beside it, and likewise of how long money stays and of the hours at
which banks decline: then the time beside is tried as well, and if it is the better one, that is learned.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from services.worker.recovery.belief.parts import Belief
from services.worker.recovery.belief.prior import prior
from shared.policy import WEEKDAYS
from shared.policy.paydays import PAYDAYS

PLANS, EXPLORES, TELLS = 0.8, 1.0, 0.3
"""So much of a learned belief is spread out before plans are made of it, before those that explore are, and before the
chances of attempts are told of it: a time is worth a try for what it may teach, which makes it no likelier. Chosen with
the generator's design seeds 0 to 19."""
# A payday that is spread out keeps the first part; each of those a day, two and three before and after gets another.
_BESIDE: Final = (0.4, 0.2, 0.07, 0.03)
# How much of a stay goes to the shorter and to the longer one; and of the banks' hours to what was believed before.
_OTHER_STAY, _OTHER_BANKS = 0.25, 0.5
# The days near the end of a month on which its last business day falls, and the days after.
_LAST_DAYS: Final = ("day_28", "day_29", "day_30", "day_31", "day_1", "day_2")


def doubted(belief: Belief, doubt: float) -> Belief:
    """The belief, of which the part `doubt` (from 0 to 1) is spread out."""
    spread = _spread_out(belief)
    return replace(
        belief,
        paydays={name: _mixed(share, spread.paydays.get(name, 0.0), doubt) for name, share in _all(belief).items()},
        stays=tuple([_mixed(one, other, doubt) for one, other in zip(belief.stays, spread.stays, strict=True)]),
        banks=tuple([_mixed(one, other, doubt) for one, other in zip(belief.banks, spread.banks, strict=True)]),
    )


def _all(belief: Belief) -> Mapping[str, float]:
    return {name: belief.paydays.get(name, 0.0) for name in PAYDAYS}


def _mixed(one: float, other: float, part: float) -> float:
    return (1 - part) * one + part * other


def _spread_out(belief: Belief) -> Belief:
    paydays = dict.fromkeys(PAYDAYS, 0.0)
    for name, share in belief.paydays.items():
        for other, part in _beside(name).items():
            paydays[other] += share * part
    last = len(belief.stays) - 1
    stays = [share * (1 - 2 * _OTHER_STAY) for share in belief.stays]
    for number, share in enumerate(belief.stays):
        stays[max(0, number - 1)] += share * _OTHER_STAY
        stays[min(last, number + 1)] += share * _OTHER_STAY
    banks = [_mixed(one, other, _OTHER_BANKS) for one, other in zip(belief.banks, prior(None).banks, strict=True)]
    return replace(belief, paydays=paydays, stays=tuple(stays), banks=tuple(banks))


@cache
def _beside(payday: str) -> Mapping[str, float]:
    """Where the share of a payday goes when it is spread out; the parts add up to 1."""
    parts = dict(_parts(payday))
    return {name: part / sum(parts.values()) for name, part in parts.items()}


def _parts(payday: str) -> Iterator[tuple[str, float]]:
    day = re.fullmatch(r"(day|business_day)_(\d+)", payday)
    weekday = re.fullmatch(rf"(weekly|last|biweekly)_({'|'.join(WEEKDAYS)})(?:_([01]))?", payday)
    if day:
        for off, part in _offsets():
            number = int(day[2]) + off
            # The days of months go round: the 31st is beside the 1st.
            name = f"{day[1]}_{(number - 1) % 31 + 1 if day[1] == 'day' else number}"
            if name in PAYDAYS:
                yield name, part
    elif weekday:
        for off, part in _offsets():
            first = WEEKDAYS.index(weekday[2])
            name = f"{weekday[1]}_{WEEKDAYS[(first + off) % 7]}"
            # The weeks of every other week begin on Sundays: the Sunday after a Saturday is in the next one.
            weeks = (first + off + 1) // 7 - (first + 1) // 7
            yield name if weekday[3] is None else f"{name}_{(int(weekday[3]) + weeks) % 2}", part
    else:
        yield payday, _BESIDE[0]
        if payday == "last_business_day":
            for name in _LAST_DAYS:
                yield name, (1 - _BESIDE[0]) / len(_LAST_DAYS)


def _offsets() -> Iterator[tuple[int, float]]:
    yield 0, _BESIDE[0]
    for days, part in enumerate(_BESIDE[1:], start=1):
        yield days, part
        yield -days, part
