"""Belief → attempts: the times that are likeliest to collect in all, chosen one by one.

Each time is chosen for what it adds: the share of the stories that accept it, of those that no time chosen before has
reached. For such gains the greedy choice is close to the best (at least 1 - 1/e of it: Nemhauser, Wolsey and Fisher
1978, https://doi.org/10.1007/BF01588971). So attempts cover different days of the month, weekdays and hours without a
rule that says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache, reduce
from heapq import heapify, heappop, heappushpop
from typing import Final
from weakref import ref
from zoneinfo import ZoneInfo

from services.worker.recovery.attempt_times import next_open
from services.worker.recovery.belief.stories import Stories
from shared.policy import AttemptTimes

# The local hours at which attempts begin: every third one, because nobody knows at which hours a bank declines.
HOURS: Final = (1, 4, 7, 10, 13, 16, 19, 22)
# Money today is worth more than money tomorrow: so much of an attempt's gain is lost with each day of waiting.
A_DAY_COSTS: Final = 0.004
_A_DAY_S: Final = 86_400.0
_AN_HOUR: Final = timedelta(hours=1)


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
    """What a plan has to keep to: attempts from `after` the last decline on until before `until`, so far apart, at most
    `most` from the failure on, at the policy's local `times` (`country` is the card's). Each has to have the chance
    `least_chance`, if all others fail."""

    after: timedelta
    until: datetime
    most: int
    least_chance: float
    times: AttemptTimes
    country: str | None = None


def plan(stories: Stories, declined: Sequence[datetime], limits: Limits) -> tuple[Planned, ...]:
    """The attempts to make, in the order of time; empty when none is worth it.

    `declined` are the attempts so far, the failure first. All times count by the hour, so that invoices that failed in
    one hour share a plan. While the attempts are made as they were planned after the failure, that plan is followed:
    it has reckoned with each decline. Otherwise the rest is planned anew.
    """
    hours = tuple(_hour(at) for at in declined)
    by_hours = replace(limits, until=_hour(limits.until))
    known = ref(stories)
    first = _planned(known, hours[:1], by_hours)
    made = len(hours) - 1
    if tuple(each.at for each in first[:made]) == hours[1:]:
        return _from(first, made)
    return _planned(known, hours, by_hours)


def at_another_time(stories: Stories, declined: Sequence[datetime], at: datetime) -> Planned:
    """The attempt that is made in the hour of `at`, whatever was planned: as `plan` would tell it, if it were alone."""
    hours, made = [_hour(each) for each in declined], _hour(at)
    out = (stories.ruled_out(stories.accepting(each, hours[0]), each.timestamp()) for each in hours)
    alive = _alive(stories, out)
    reached = alive & stories.ruled_out(stories.accepting(made, hours[0]), made.timestamp())
    chance = 1 - (alive & ~reached).bit_count() / alive.bit_count() if alive else 0.0
    return Planned(made, chance, chance, stories.why(reached))


def _alive(stories: Stories, ruled_out: Iterable[int]) -> int:
    return reduce(lambda left, each: left & ~each, ruled_out, stories.all)


def _from(planned: tuple[Planned, ...], made: int) -> tuple[Planned, ...]:
    """The rest of a plan after so many declines: what it collects counts from here."""
    if made == 0:
        return planned
    missed = 1 - planned[made - 1].collected
    return tuple(replace(each, collected=1 - (1 - each.collected) / missed) for each in planned[made:])


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


# By a weak reference: stories are large, and whoever has made them says how long they are kept.
@lru_cache(maxsize=16_384)
def _planned(known: "ref[Stories]", declined: tuple[datetime, ...], limits: Limits) -> tuple[Planned, ...]:
    stories = known()
    if stories is None:
        raise ReferenceError("the caller of `plan` holds its stories")
    failed_at = declined[0]
    out = [stories.ruled_out(stories.accepting(at, failed_at), at.timestamp()) for at in declined]
    alive = _alive(stories, out)
    # The decline was at some minute of its hour.
    first = (declined[-1] + limits.after + _AN_HOUR).timestamp()
    gap = limits.after.total_seconds()
    # A heap of what each candidate adds, as of the time when it was looked at last: what it adds can only become less.
    candidates = _candidates(stories, failed_at, first, limits)
    heap = [(-_worth(accepting & alive, when, first), when, accepting) for when, accepting in candidates]
    heapify(heap)
    chosen: list[tuple[float, int]] = []
    left, most = alive, limits.most - (len(declined) - 1)
    while heap and len(chosen) < most:
        _, when, accepting = heappop(heap)
        best = (-_worth(accepting & left, when, first), when, accepting)
        while heap and heap[0] < best:
            _, when, accepting = heappushpop(heap, best)
            best = (-_worth(accepting & left, when, first), when, accepting)
        if (best[2] & left).bit_count() < limits.least_chance * left.bit_count():
            break
        if any(abs(best[1] - other) <= gap for other, _ in chosen):
            continue
        chosen.append((best[1], best[2]))
        left &= ~stories.ruled_out(best[2], best[1])
    return _in_order(stories, sorted(chosen), alive)


def _in_order(stories: Stories, chosen: list[tuple[float, int]], alive: int) -> tuple[Planned, ...]:
    found: list[Planned] = []
    left, total = alive, alive.bit_count()
    for at, accepting in chosen:
        before = left
        left &= ~stories.ruled_out(accepting, at)
        chance = 1 - left.bit_count() / before.bit_count()
        moment = datetime.fromtimestamp(at, UTC)
        found.append(Planned(moment, chance, 1 - left.bit_count() / total, stories.why(before & ~left)))
    return tuple(found)


def _worth(stories: int, at: float, first: float) -> float:
    return stories.bit_count() * (1 - A_DAY_COSTS * (at - first) / _A_DAY_S)


def _candidates(stories: Stories, failed_at: datetime, first: float, limits: Limits) -> list[tuple[float, int]]:
    """The times at which an attempt may be made, each with the stories that accept it."""
    day = datetime.fromtimestamp(first, stories.zone).date()
    last, last_day = limits.until.timestamp(), limits.until.astimezone(stories.zone).date()
    found: list[tuple[float, int]] = []
    while day <= last_day:
        for at, hour in _times_of(day, stories.zone):
            if first <= at < last and _is_open(limits, at):
                found.append((at, stories.accepting_at(at, day, hour, failed_at)))
        day += timedelta(days=1)
    return found


def _is_open(limits: Limits, at: float) -> bool:
    if limits.times.always:
        return True
    moment = datetime.fromtimestamp(at, UTC)
    return next_open(limits.times, moment, limits.country) == moment


@lru_cache(maxsize=8_192)
def _times_of(day: date, zone: ZoneInfo) -> tuple[tuple[float, int], ...]:
    return tuple((datetime.combine(day, time(hour), zone).timestamp(), hour) for hour in HOURS)
