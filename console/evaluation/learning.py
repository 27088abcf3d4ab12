"""Trains learned timing on a merchant's own past, before the compared renewals fail.

The past consists of failures of other customers, drawn from the same world, in the twelve weeks before. They are played
in the order of time under the policy: at the end of each week the estimator learns from the retries so far (the last
2,000, as in production) and plans the next week's. The comparison uses what it has learned by then; it knows nothing of
the compared customers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import groupby, islice
from typing import Final
from zoneinfo import ZoneInfo

from console.evaluation.play import RETRY, play
from console.evaluation.population import DAY, FIRST_DAY, Failure, Population, cause_of
from console.evaluation.strategies import Brain
from console.evaluation.worlds import World
from services.worker.recovery import DeclineCause, Policy, Timing
from services.worker.recovery.estimator import ONE_HOUR, Estimator, Observed
from services.worker.recovery.timezones import zone_of
from services.worker.recovery.timing import Hours

WEEKS: Final = 12
REMEMBERED: Final = 2_000
"""How many of a merchant's last retries are used, as in the worker (`services/worker/dossier/store.py`)."""
_WEEK: Final = 7 * DAY
_QUARTER: Final = 900


@dataclass(frozen=True, slots=True)
class Lesson:
    """The learned timing, and the number of retries behind it."""

    timing: Timing
    retries: int


def learn(policy: Policy, failures: int, seed: int, world: World) -> Lesson:
    """The learned timing after so many failed renewals in the twelve weeks before; the same for the same seed
    and world."""
    policy = as_learned(policy)
    first_day = FIRST_DAY - timedelta(weeks=WEEKS)
    eve = _midnight(FIRST_DAY)
    past = sorted(
        islice(Population(world, f"past of {seed}", first_day, WEEKS * 7), failures),
        key=lambda each: each.kind.opened_at,
    )
    retries: list[tuple[float, Observed]] = []
    for week, failed in groupby(past, key=lambda each: (each.kind.opened_at - _midnight(first_day)) // _WEEK):
        estimator, _ = _learned(retries, _midnight(first_day) + week * _WEEK)
        brain = Brain("past", policy, remembering(estimator))
        for failure in failed:
            retries += _retries(brain, failure)
    estimator, known = _learned(retries, eve)
    return Lesson(remembering(estimator), known)


def as_learned(policy: Policy) -> Policy:
    """The same policy with `timing: learned`."""
    return policy.model_copy(update={"timing": "learned"})


def _learned(retries: list[tuple[float, Observed]], until: float) -> tuple[Estimator, int]:
    """The estimator at a time, from the retries before it; and their number."""
    made = sorted((each for each in retries if each[0] < until), key=lambda each: each[0])[-REMEMBERED:]
    return Estimator.learn(observed for _, observed in made), len(made)


def _retries(brain: Brain, failure: Failure) -> Iterator[tuple[float, Observed]]:
    """The retries of a failure as the worker would read them from its rows."""
    fate, plan = play(brain, failure), brain.plan(failure.kind)
    cause, zone = cause_of(failure.kind.code), zone_of(failure.kind.country)
    times = [step.at for step, _ in zip(plan.attempts, range(fate.attempts), strict=False)]
    if len(times) < fate.attempts:  # the first attempt with a renewed card is in no plan
        times.append(failure.fate.updated_at)
    for at in times:
        paid = fate.by == RETRY and at == fate.paid_at
        yield at, Observed(cause, datetime.fromtimestamp(at, UTC).astimezone(zone), paid)


def _midnight(day: date) -> float:
    return datetime.combine(day, datetime.min.time(), UTC).timestamp()


@dataclass(frozen=True, slots=True)
class _Remembering:
    """Keeps the answers of an estimator by the quarter of an hour: no zone's offset is finer, so all times in one have
    the same local hours before and after them, and the same number of hours is picked."""

    hours: Callable[[DeclineCause, int, int, int, ZoneInfo], int]

    def pick(
        self, cause: DeclineCause, scheduled: datetime, between: tuple[datetime, datetime], zone: ZoneInfo
    ) -> datetime:
        """As the estimator."""
        earliest, latest = between
        first, last = -((scheduled - earliest) // ONE_HOUR), (latest - scheduled) // ONE_HOUR
        return scheduled + ONE_HOUR * self.hours(cause, int(scheduled.timestamp()) // _QUARTER, first, last, zone)


def remembering(estimator: Hours) -> Timing:
    """A timing that picks as the estimator, with a cache, because many failures ask the same."""

    @cache
    def hours(cause: DeclineCause, quarter: int, first: int, last: int, zone: ZoneInfo) -> int:
        at = datetime.fromtimestamp(quarter * _QUARTER, UTC)
        return (estimator.pick(cause, at, (at + first * ONE_HOUR, at + last * ONE_HOUR), zone) - at) // ONE_HOUR

    return Timing(_Remembering(hours))
