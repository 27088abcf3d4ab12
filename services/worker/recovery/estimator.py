"""Learned timing: from a merchant's own retries, the time at which another one is likely to succeed.

For each cause there is one success rate, and one more for each weekday, each day of the month and each hour of the day
in the card's country. Each is the mean of a Beta distribution: successes and tries on top of a prior (Gelman et al.,
Bayesian Data Analysis, 3rd ed., section 2.4). The prior of a cause is the rate of all attempts together; the prior of a
weekday, a day or an hour is its cause's rate, as strong as `PRIOR_TRIES` tries.

The schedule's own time is kept unless another is surely better, by the lower end of the interval. So little data
changes nothing, and a time that was never tried is not preferred. (The idea is that of safe policy improvement: Laroche
et al., 2019, https://arxiv.org/abs/1712.06924. With the mean alone, attempts moved away from good paydays after some
150 retries and lost money, as `citadel simulate` showed.)

The contributions of weekday, day and hour are added up on the logit scale, as if they were independent. They are not
quite (the 1st is sometimes a Friday), but only the order of times is used, which changes little by that.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import exp, log, sqrt
from typing import Self
from zoneinfo import ZoneInfo

from shared.policy import DeclineCause

PRIOR_TRIES = 40.0
"""How many tries of one weekday, day or hour weigh as much as its cause's rate."""
PRIOR_OF_ALL = (10.0, 30.0)
"""The prior of all: successes and failures that are assumed before any data, so that a quarter of retries succeed."""
WORTH_IT = 0.01
"""How much better than the scheduled time a picked one has to be; else the scheduled one is kept."""
SURE = 1.64
"""How many standard deviations above zero its lead has to be: 95 % sure, one-sided, by the normal distribution."""
ONE_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Observed:
    """One retry of ours: after which cause, when (in the card country's local time), and whether it succeeded."""

    cause: DeclineCause
    at: datetime
    succeeded: bool


@dataclass(frozen=True, slots=True)
class Estimator:
    """Tries and successes by cause, and by cause and each part of the time. Pure: it never changes."""

    counts: Mapping[Hashable, tuple[int, int]]
    # What follows from the counts for a cause, once it was asked for.
    _of_causes: dict[DeclineCause, "_OfCause"] = field(default_factory=dict, init=False, compare=False, repr=False)

    @classmethod
    def learn(cls, observed: Iterable[Observed]) -> Self:
        """The estimator after these retries."""
        counts: defaultdict[Hashable, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for each in observed:
            for key in ("all", each.cause, *_parts(each.cause, each.at)):
                tries, successes = counts[key]
                counts[key] = (tries + 1, successes + each.succeeded)
        return cls(dict(counts))

    def rate(self, cause: DeclineCause, local: datetime) -> float:
        """How likely a retry after this cause succeeds at this local time, from 0 to 1."""
        base, said = self._said(cause)
        return _probability(base + sum(of_part[value].mean for of_part, value in zip(said, _when(local), strict=True)))

    def pick(
        self, cause: DeclineCause, scheduled: datetime, between: tuple[datetime, datetime], zone: ZoneInfo
    ) -> datetime:
        """The best hour `between` the two times, at the minute of `scheduled`; of equals the one nearest to it.

        The best is the one with the largest lead over the scheduled time, taken at the lower end of its interval. If no
        lead is surely above zero, or none is large enough, the answer is `scheduled`.
        """
        earliest, latest = between
        local = scheduled.astimezone(zone)
        scheduled_rate = self.rate(cause, local)
        scheduled_score = _logit(scheduled_rate)
        _, said = self._said(cause)
        weekdays, days, hours = (_leads(of_part, own) for of_part, own in zip(said, _when(local), strict=True))
        best, best_lead = scheduled, 0.0
        first = -((scheduled - earliest) // ONE_HOUR)
        last = (latest - scheduled) // ONE_HOUR
        in_utc = scheduled.astimezone(UTC)
        for step in sorted(range(first, last + 1), key=abs):
            at = in_utc + step * ONE_HOUR
            weekday, day, hour = _when(at.astimezone(zone))
            ahead = weekdays[weekday].mean + days[day].mean + hours[hour].mean
            if ahead <= best_lead:
                continue
            variance = weekdays[weekday].variance + days[day].variance + hours[hour].variance
            lead = ahead - SURE * sqrt(variance)
            if lead > best_lead and _probability(scheduled_score + ahead) > scheduled_rate + WORTH_IT:
                best, best_lead = at, lead
        return best

    def _said(self, cause: DeclineCause) -> "_OfCause":
        """The cause's own score, and what each weekday, day and hour adds; at once, as a pick scores many hours."""
        if cause not in self._of_causes:
            self._of_causes[cause] = self._say(cause)
        return self._of_causes[cause]

    def _say(self, cause: DeclineCause) -> "_OfCause":
        of_cause = self._mean(cause, _prior(self._mean("all", PRIOR_OF_ALL)))
        base, prior = _logit(of_cause), _prior(of_cause)

        def each(part: str, values: range) -> list[_Said]:
            return [self._adds((cause, part, value), prior, base) for value in values]

        return base, (each("weekday", range(7)), each("day", range(32)), each("hour", range(24)))

    def _adds(self, key: Hashable, prior: tuple[float, float], base: float) -> "_Said":
        tries, successes = self.counts.get(key, (0, 0))
        won, lost = successes + prior[0], tries - successes + prior[1]
        # The variance of a Beta-distributed rate's logit, to first order.
        return _Said(log(won / lost) - base, 1 / won + 1 / lost)

    def _mean(self, key: Hashable, prior: tuple[float, float]) -> float:
        tries, successes = self.counts.get(key, (0, 0))
        return (successes + prior[0]) / (tries + prior[0] + prior[1])


@dataclass(frozen=True, slots=True)
class _Said:
    """What one weekday, day or hour adds to a score, and how uncertain that is. On the logit scale."""

    mean: float
    variance: float


_OfCause = tuple[float, tuple[list[_Said], list[_Said], list[_Said]]]


def _leads(of_part: list[_Said], own: int) -> list[_Said]:
    """The lead of each weekday (day, hour) over the scheduled time's `own`, whose lead over itself is surely zero."""
    level = of_part[own]
    leads = [_Said(each.mean - level.mean, each.variance + level.variance) for each in of_part]
    leads[own] = _Said(0.0, 0.0)
    return leads


def _when(local: datetime) -> tuple[int, int, int]:
    return local.weekday(), local.day, local.hour


def _parts(cause: DeclineCause, local: datetime) -> tuple[Hashable, ...]:
    return (cause, "weekday", local.weekday()), (cause, "day", local.day), (cause, "hour", local.hour)


def _probability(score: float) -> float:
    return 1 / (1 + exp(-score))


def _prior(mean: float) -> tuple[float, float]:
    return mean * PRIOR_TRIES, (1 - mean) * PRIOR_TRIES


def _logit(rate: float) -> float:
    return log(rate / (1 - rate))
