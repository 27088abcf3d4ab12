"""Learns from a merchant's own attempts when another one is likely to succeed: the timing signal `learned`.

For each cause there is one success rate, and one more for each weekday, each day of the month and each hour of the day
in the card's country. Each is the mean of a Beta distribution: successes and tries on top of a prior (Gelman et al.,
Bayesian Data Analysis, 3rd ed., section 2.4). The prior of a cause is what all attempts together show; the prior of a
weekday, a day or an hour is its cause, as strong as `PRIOR_TRIES` tries. So little data changes little: without any,
every time is as good as another, and the schedule's own is kept.

What the three say is added up on the logit scale, as if they were independent. They are not quite (the 1st is a Friday
now and then); the order of times, which is all that is used, suffers little from that.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import exp, log
from typing import Self
from zoneinfo import ZoneInfo

from shared.policy import DeclineCause

PRIOR_TRIES = 40.0
"""As many tries as one weekday, day or hour needs until its own rate weighs as much as its cause's."""
PRIOR_OF_ALL = (10.0, 30.0)
"""Successes and failures that are taken for seen before anything is: a quarter of retries succeed."""
WORTH_IT = 0.01
"""A picked time has to be better than the scheduled one by this much, or the scheduled one is kept."""
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

    @classmethod
    def learn(cls, observed: Iterable[Observed]) -> Self:
        """All that these retries teach."""
        counts: defaultdict[Hashable, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for each in observed:
            for key in ("all", each.cause, *_parts(each.cause, each.at)):
                tries, successes = counts[key]
                counts[key] = (tries + 1, successes + each.succeeded)
        return cls(dict(counts))

    def rate(self, cause: DeclineCause, local: datetime) -> float:
        """How likely a retry after this cause succeeds at this local time, from 0 to 1."""
        of_all = self._mean("all", PRIOR_OF_ALL)
        of_cause = self._mean(cause, _prior(of_all))
        score = _logit(of_cause)
        for part in _parts(cause, local):
            score += _logit(self._mean(part, _prior(of_cause))) - _logit(of_cause)
        return 1 / (1 + exp(-score))

    def pick(
        self, cause: DeclineCause, scheduled: datetime, between: tuple[datetime, datetime], zone: ZoneInfo
    ) -> datetime:
        """The best hour between the two, at the minute of `scheduled`; of equals the one nearest to it."""
        earliest, latest = between
        best, best_rate = scheduled, self.rate(cause, scheduled.astimezone(zone)) + WORTH_IT
        first = -((scheduled - earliest) // ONE_HOUR)
        last = (latest - scheduled) // ONE_HOUR
        for step in sorted(range(first, last + 1), key=abs):
            at = scheduled.astimezone(UTC) + step * ONE_HOUR
            rate = self.rate(cause, at.astimezone(zone))
            if rate > best_rate:
                best, best_rate = at, rate
        return best

    def _mean(self, key: Hashable, prior: tuple[float, float]) -> float:
        tries, successes = self.counts.get(key, (0, 0))
        return (successes + prior[0]) / (tries + prior[0] + prior[1])


def _parts(cause: DeclineCause, local: datetime) -> tuple[Hashable, ...]:
    return (cause, "weekday", local.weekday()), (cause, "day", local.day), (cause, "hour", local.hour)


def _prior(mean: float) -> tuple[float, float]:
    return mean * PRIOR_TRIES, (1 - mean) * PRIOR_TRIES


def _logit(rate: float) -> float:
    return log(rate / (1 - rate))
