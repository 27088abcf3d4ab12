"""Belief → attempts: the times that are likeliest to collect in all, chosen one by one.

Each time is chosen for what it adds: the share of the stories that accept it, of those that no time chosen before has
reached. For such gains the greedy choice is close to the best (at least 1 - 1/e of it: Nemhauser, Wolsey and Fisher
1978, https://doi.org/10.1007/BF01588971). So attempts cover different days of the month, weekdays and hours without a
rule that says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache, reduce
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from services.worker.recovery.attempt_times import next_open
from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.belief.stories import Bits, Stories, how_many
from shared.policy import AttemptTimes

# The local hours at which attempts begin: every third one, because nobody knows at which hours a bank declines.
# As many in each quarter of the day, in which money is looked at once.
HOURS: Final = (1, 4, 7, 10, 13, 16, 19, 22)
# Money today is worth more than money tomorrow: so much of an attempt's gain is lost with each day of waiting.
A_DAY_COSTS: Final = 0.004
_A_DAY_S: Final = 86_400.0
_AN_HOUR: Final = timedelta(hours=1)
KEPT_PLANS: Final = 8_192
"""So many plans (of 1.7 KB, 14 MB in all) are kept in a process."""
Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Planned:
    """One attempt: the hour in which it is made, and how likely it succeeds if all before it have failed.

    `collected`: that it succeeds, or one of the plan before it. `why`: a sentence about those it reaches, or None.
    """

    at: datetime
    chance: float
    collected: float
    why: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a plan has to keep to: attempts from `after` the last decline on until before `until`, at most `most` from
    the failure on, at the policy's local `times` (`country` is the card's). Each has to have the chance `least_chance`,
    if all others fail. `takes`: how long the bank needs for an answer, which is days for a debit; the next attempt
    comes `after` that."""

    after: timedelta
    until: datetime
    most: int
    least_chance: float
    times: AttemptTimes
    country: str | None = None
    takes: timedelta = timedelta(0)


def plan(
    stories: Stories, declined: Sequence[datetime], limits: Limits, told: Stories | None = None
) -> tuple[Planned, ...]:
    """The attempts to make, in the order of time; empty when none is worth it. Their chances are `told` by these
    stories, without them by the same.

    `declined` are the attempts so far, the failure first. All times count by the hour, so that invoices that failed in
    one hour share a plan. While the attempts are made as they were planned after the failure, that plan is followed:
    it has reckoned with each decline. Otherwise the rest is planned anew.
    """
    told = told or stories
    first = _planned(stories, (_hour(declined[0]),), limits, told)
    made = len(declined) - 1
    if made == 0:
        return first
    # From the time that was planned on it is made within an hour, which need not be one of UTC's.
    followed = len(first) >= made and all(
        each.at <= at < each.at + _AN_HOUR for each, at in zip(first, declined[1:], strict=False)
    )
    return _from(first, made) if followed else _planned(stories, tuple([_hour(at) for at in declined]), limits, told)


def at_another_time(stories: Stories, declined: Sequence[datetime], at: datetime) -> Planned:
    """The attempt that is made in the hour of `at`, whatever was planned: as `plan` would tell it, if it were alone."""
    hours, made = [_hour(each) for each in declined], _hour(at)
    alive = _alive(stories, hours)
    reached = alive & stories.ruled_out(stories.accepting(made, hours[0]), made.timestamp())
    chance = _lost(how_many(alive & ~reached), how_many(alive))
    return Planned(made, chance, chance, *stories.why(reached[None, :]))


def _alive(stories: Stories, declined: Sequence[datetime]) -> Bits:
    """The stories that these declines leave."""
    out = (stories.ruled_out(stories.accepting(at, declined[0]), at.timestamp()) for at in declined)
    return reduce(lambda left, each: left & ~each, out, stories.all)


def _from(planned: tuple[Planned, ...], made: int) -> tuple[Planned, ...]:
    """The rest of a plan after so many declines: what it collects counts from here."""
    missed = 1 - planned[made - 1].collected
    return tuple([replace(each, collected=_lost(1 - each.collected, missed)) for each in planned[made:]])


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


_Key = tuple[
    int, int, tuple[datetime, ...], timedelta, timedelta, datetime, int, float, AttemptTimes | None, str | None
]
_plans: Final[Kept[_Key, tuple[Planned, ...]]] = Kept(KEPT_PLANS)


def _planned(stories: Stories, declined: tuple[datetime, ...], limits: Limits, told: Stories) -> tuple[Planned, ...]:
    """The plan after declines in these hours, until the hour of the limits' end."""
    times = None if limits.times.always else limits.times
    until, country = _hour(limits.until), None if times is None else limits.country
    apart = (limits.after, limits.takes)
    key = (stories.number, told.number, declined, *apart, until, limits.most, limits.least_chance, times, country)
    found = _plans.get(key)
    if found is None:
        found = _plans.keep(key, _made(stories, declined, replace(limits, until=until), told))
    return found


def _made(stories: Stories, declined: tuple[datetime, ...], limits: Limits, told: Stories) -> tuple[Planned, ...]:
    alive, most = _alive(stories, declined), limits.most - (len(declined) - 1)
    # The decline was at some minute of its hour.
    first = (declined[-1] + limits.after + _AN_HOUR).timestamp()
    at, accepting = _candidates(stories, declined[0], first, limits)
    kept = 1 - A_DAY_COSTS * (at - first) / _A_DAY_S
    gap = (limits.after + limits.takes).total_seconds()
    chosen: list[int] = []
    dropped: list[int] = []
    taken: list[float] = []
    moments = at.tolist()
    left, counts = alive, _counts(accepting, alive)
    remaining, worth = how_many(left), counts * kept
    while len(dropped) < len(moments) and len(chosen) < most:
        best = int(worth.argmax())
        if counts[best] < limits.least_chance * remaining:
            break
        dropped.append(best)
        worth[best] = -1
        moment = moments[best]
        if any(abs(moment - other) <= gap for other in taken):
            continue
        chosen.append(best)
        taken.append(moment)
        if len(chosen) < most:
            left = left & ~stories.ruled_out(accepting[best], moment)
            counts, remaining = _counts(accepting, left), how_many(left)
            worth = counts * kept
            worth[dropped] = -1
    chosen.sort()
    if told is stories or not chosen:
        return _in_order(stories, at[chosen], accepting[chosen], alive)
    moments = [datetime.fromtimestamp(each, UTC) for each in at[chosen]]
    known = [told.accepting(moment, declined[0]) for moment in moments]
    return _in_order(told, at[chosen], np.stack(known), _alive(told, declined))


def _in_order(stories: Stories, times: Times, accepting: Bits, alive: Bits) -> tuple[Planned, ...]:
    reached, left = np.empty_like(accepting), alive
    remaining = [how_many(alive)]
    for number, at in enumerate(times):
        reached[number] = left & stories.ruled_out(accepting[number], at)
        left = left & ~reached[number]
        remaining.append(how_many(left))
    return tuple(
        [
            Planned(datetime.fromtimestamp(at, UTC), _lost(after, before), _lost(after, remaining[0]), why)
            for at, (before, after), why in zip(times, pairwise(remaining), stories.why(reached), strict=True)
        ]
    )


def _lost(after: float, before: float) -> float:
    """The share that is gone; none of nothing, as where what is told leaves no story for what was planned."""
    return 1 - after / before if before else 0.0


def _counts(accepting: Bits, left: Bits) -> npt.NDArray[np.uint16]:
    """What each candidate adds: how many of the stories that are left accept it."""
    counts: npt.NDArray[np.uint16] = np.bitwise_count(accepting & left).sum(axis=1, dtype=np.uint16)
    return counts


def _candidates(stories: Stories, failed_at: datetime, first: float, limits: Limits) -> tuple[Times, Bits]:
    """The times at which an attempt may be made, in order, each with the stories that accept it."""
    begins, last = datetime.fromtimestamp(first, stories.zone).date(), limits.until.timestamp()
    ends = limits.until.astimezone(stories.zone).date()
    if first >= last:
        return np.zeros(0), stories.all[None, :][:0]
    days, at = _times_between(begins, ends, stories.zone)
    accepting = stories.accepting_each(days, HOURS, at, failed_at)
    within = slice(*np.searchsorted(at, (first, last)))
    if limits.times.always:
        return at[within], accepting[within]
    opened = [_open_of(day, stories.zone, limits.times, limits.country) for day in days]
    is_open = np.concatenate(opened)[within]
    return at[within][is_open], accepting[within][is_open]


@lru_cache(maxsize=1_024)
def _times_between(begins: date, ends: date, zone: ZoneInfo) -> tuple[tuple[date, ...], Times]:
    """The days from one to another, and when their `HOURS` are."""
    days = tuple([begins + timedelta(days=number) for number in range((ends - begins).days + 1)])
    return days, np.concatenate([_times_of(day, zone) for day in days])


@lru_cache(maxsize=8_192)
def _times_of(day: date, zone: ZoneInfo) -> Times:
    return np.array([datetime.combine(day, time(hour), zone).timestamp() for hour in HOURS])


@lru_cache(maxsize=8_192)
def _open_of(day: date, zone: ZoneInfo, times: AttemptTimes, country: str | None) -> npt.NDArray[np.bool_]:
    """At which of a day's times an attempt may be made."""
    moments = [datetime.fromtimestamp(at, UTC) for at in _times_of(day, zone)]
    return np.array([next_open(times, moment, country) == moment for moment in moments])
