"""Trains learned timing on a merchant's own failures, before the compared renewals fail and while they do.

They are failures of other customers, drawn from the same world: so many in the twelve weeks before, and as many a week
in the compared ones. They are played in the order of time under the policy: at the end of each week what was tried so
far (the last 2,000, as in production) teaches the estimator and the belief, by which the next week's attempts are
planned, and in which hours customers answer. A compared renewal is planned by what was learned until the week in which
it fails; nothing is learned from the compared customers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from console.evaluation.on_record import OnRecord, outcome_until, past_of
from console.evaluation.population import DAYS, FIRST_DAY, Failure, Population, cause_of
from console.evaluation.strategies import Strategy, asks_for
from console.evaluation.weekly import BEGINS, WEEK, Weekly, midnight
from console.evaluation.worlds import World
from console.evaluation.writing import answers_by, written_about
from services.worker.recovery import BY_THE_RULES, DeclineCause, Policy, Timing
from services.worker.recovery.belief import learning as beliefs
from services.worker.recovery.estimator import ONE_HOUR, Estimator, Observed
from services.worker.recovery.message_answers import Written
from services.worker.recovery.timezones import zone_of
from services.worker.recovery.timing import Hours

WEEKS: Final = 12
REMEMBERED: Final = 2_000
"""How many of a merchant's last retries are used, as in the worker (`services/worker/dossier/store.py`)."""
_COMPARED_WEEKS: Final = -(-DAYS // 7)
_QUARTER: Final = 900


@dataclass(frozen=True, slots=True)
class Lesson:
    """The learned timing, and the number of retries behind it."""

    timing: Timing
    retries: int


@dataclass(frozen=True, slots=True)
class Lessons:
    """What was learned until each of the compared weeks."""

    of_weeks: tuple[Lesson, ...]

    @property
    def first(self) -> Lesson:
        """What was learned before the compared renewals."""
        return self.of_weeks[0]

    def strategy(self, name: str, policy: Policy) -> Strategy:
        """The brain, which plans each renewal by what was learned until the week in which it fails."""
        policy = as_learned(policy)
        return Weekly.of(name, policy, [each.timing for each in self.of_weeks])


def learn(policy: Policy, failures: int, seed: int, world: World) -> Lessons:
    """The learned timing after so many failed renewals in the twelve weeks before, and as many a week from then on; the
    same for the same seed and world."""
    policy = as_learned(policy)
    pasts: list[OnRecord] = []
    taught: list[Lesson] = []
    for week, of_week in enumerate(_by_week(failures, seed, world), start=-WEEKS):
        lesson = _lesson(policy, pasts, BEGINS + week * WEEK)
        if week >= 0:
            taught.append(lesson)
        brain = Weekly.of("past", policy, [lesson.timing])
        pasts += [past_of(brain, failure) for failure in of_week]
    return Lessons(tuple(taught))


def _by_week(failures: int, seed: int, world: World) -> Iterator[list[Failure]]:
    """The failures of each week, those of the weeks before first, in the order of time."""
    before, since = (WEEKS, FIRST_DAY - timedelta(weeks=WEEKS)), (_COMPARED_WEEKS, FIRST_DAY)
    for (weeks, first_day), called in ((before, "past"), (since, "present")):
        count = round(failures * weeks / WEEKS)
        failed = islice(Population(world, f"{called} of {seed}", first_day, weeks * 7), count)
        by_week: list[list[Failure]] = [[] for _ in range(weeks)]
        for failure in sorted(failed, key=lambda each: each.kind.opened_at):
            by_week[int((failure.kind.opened_at - midnight(first_day)) // WEEK)].append(failure)
        yield from by_week


def as_learned(policy: Policy) -> Policy:
    """The same policy with `timing: learned`."""
    return policy.model_copy(update={"timing": "learned"})


def _lesson(policy: Policy, pasts: Sequence[OnRecord], until: float) -> Lesson:
    """What can be known at a time, from the attempts before it."""
    hours, retries = _learned([each for past in pasts for each in _retries(past)], until)
    answers = answers_by((_written(past, until) for past in pasts), until)
    if policy.learns_hours:
        return Lesson(Timing(hours=remembering(hours), answers=answers), retries)
    if not pasts:
        return Lesson(BY_THE_RULES, retries)
    outcomes = [found for past in pasts if (found := outcome_until(past, until)) is not None]
    learned = beliefs.learn(outcomes, datetime.fromtimestamp(until, UTC))
    return Lesson(Timing(learned=learned, answers=answers), retries)


def _written(past: OnRecord, until: float) -> list[Written]:
    return written_about(past.kind, asks_for(past.kind.decline), past.messages, past.customer_paid_at, until)


def _learned(retries: list[tuple[float, Observed]], until: float) -> tuple[Estimator, int]:
    """The estimator at a time, from the retries before it; and their number."""
    made = sorted((each for each in retries if each[0] < until), key=lambda each: each[0])[-REMEMBERED:]
    return Estimator.learn(observed for _, observed in made), len(made)


def _retries(past: OnRecord) -> Iterator[tuple[float, Observed]]:
    """The retries of a failure as the worker would read them from its rows."""
    cause, zone = cause_of(past.kind.code), zone_of(past.kind.country)
    for at in past.attempts:
        paid = past.paid and at == past.attempts[-1]
        yield at, Observed(cause, datetime.fromtimestamp(at, UTC).astimezone(zone), paid)


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


def remembering(estimator: Hours) -> Hours:
    """The hours that the estimator picks, with a cache, because many failures ask the same."""

    @cache
    def hours(cause: DeclineCause, quarter: int, first: int, last: int, zone: ZoneInfo) -> int:
        at = datetime.fromtimestamp(quarter * _QUARTER, UTC)
        return (estimator.pick(cause, at, (at + first * ONE_HOUR, at + last * ONE_HOUR), zone) - at) // ONE_HOUR

    return _Remembering(hours)
