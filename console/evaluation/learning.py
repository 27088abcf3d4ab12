"""Trains learned timing on a merchant's own past, before the compared renewals fail.

The past consists of failures of other customers, drawn from the same world, in the twelve weeks before. They are played
in the order of time under the policy: at the end of each week what was tried so far (the last 2,000, as in production)
teaches the estimator and the belief, by which the next week's attempts are planned. The comparison uses what was
learned by then, and nothing of the compared customers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import groupby, islice
from typing import Final
from zoneinfo import ZoneInfo

from console.evaluation.play import RETRY, play
from console.evaluation.population import DAY, FIRST_DAY, Failure, Kind, Population, cause_of
from console.evaluation.strategies import CREDIT, Brain
from console.evaluation.worlds import World
from services.worker.recovery import BY_THE_RULES, DeclineCause, Policy, Timing
from services.worker.recovery.belief import learning as beliefs
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


@dataclass(frozen=True, slots=True)
class _Past:
    """A failure of the past, the times of its attempts, and whether the last one was paid. `renewed`: the last one was
    made with a renewed card."""

    kind: Kind
    attempts: tuple[float, ...]
    paid: bool
    renewed: bool


def learn(policy: Policy, failures: int, seed: int, world: World) -> Lesson:
    """The learned timing after so many failed renewals in the twelve weeks before; the same for the same seed
    and world."""
    policy = as_learned(policy)
    first_day = FIRST_DAY - timedelta(weeks=WEEKS)
    failed = sorted(
        islice(Population(world, f"past of {seed}", first_day, WEEKS * 7), failures),
        key=lambda each: each.kind.opened_at,
    )
    pasts: list[_Past] = []
    for week, of_week in groupby(failed, key=lambda each: (each.kind.opened_at - _midnight(first_day)) // _WEEK):
        lesson = _lesson(policy, pasts, _midnight(first_day) + week * _WEEK)
        brain = Brain("past", policy, lesson.timing)
        pasts += [_past(brain, failure) for failure in of_week]
    return _lesson(policy, pasts, _midnight(FIRST_DAY))


def as_learned(policy: Policy) -> Policy:
    """The same policy with `timing: learned`."""
    return policy.model_copy(update={"timing": "learned"})


def outcome_of(brain: Brain, failure: Failure, until: float) -> beliefs.Outcome | None:
    """What the rows say of a failure that was played and had ended by then; None if it had not, or they say nothing:
    that takes an answer of the bank beside the first."""
    fate, ends = play(brain, failure), brain.plan(failure.kind).ends
    if min(fate.paid_at, ends) > until:
        return None
    outcome = _outcome(_past(brain, failure), until)
    return outcome if len(outcome.declined) + (outcome.accepted_at is not None) > 1 else None


def _past(brain: Brain, failure: Failure) -> _Past:
    """What is on record of a failure that was played."""
    fate, plan = play(brain, failure), brain.plan(failure.kind)
    times = [step.at for step, _ in zip(plan.attempts, range(fate.attempts), strict=False)]
    renewed = len(times) < fate.attempts
    if renewed:  # the attempts with a renewed card are in no plan; the first is made when it comes
        times.append(failure.fate.updated_at)
    return _Past(failure.kind, tuple(times), fate.by == RETRY and fate.paid_at in times, renewed)


def _lesson(policy: Policy, pasts: Sequence[_Past], until: float) -> Lesson:
    """What can be known at a time, from the attempts before it."""
    hours, retries = _learned([each for past in pasts for each in _retries(past)], until)
    if policy.learns_hours:
        return Lesson(Timing(hours=remembering(hours)), retries)
    if not pasts:
        return Lesson(BY_THE_RULES, retries)
    learned = beliefs.learn([_outcome(past, until) for past in pasts], datetime.fromtimestamp(until, UTC))
    return Lesson(Timing(learned=learned), retries)


def _learned(retries: list[tuple[float, Observed]], until: float) -> tuple[Estimator, int]:
    """The estimator at a time, from the retries before it; and their number."""
    made = sorted((each for each in retries if each[0] < until), key=lambda each: each[0])[-REMEMBERED:]
    return Estimator.learn(observed for _, observed in made), len(made)


def _retries(past: _Past) -> Iterator[tuple[float, Observed]]:
    """The retries of a failure as the worker would read them from its rows."""
    cause, zone = cause_of(past.kind.code), zone_of(past.kind.country)
    for at in past.attempts:
        paid = past.paid and at == past.attempts[-1]
        yield at, Observed(cause, datetime.fromtimestamp(at, UTC).astimezone(zone), paid)


def _outcome(past: _Past, until: float) -> beliefs.Outcome:
    """What is known of a failure's attempts with its first card at a time."""
    made = past.attempts[:-1] if past.renewed else past.attempts
    times = [datetime.fromtimestamp(at, UTC) for at in (past.kind.opened_at, *made) if at < until]
    paid = past.paid and not past.renewed and past.attempts[-1] < until
    declined, accepted_at = (times[:-1], times[-1]) if paid else (times, None)
    credit, cause = past.kind.funding == CREDIT, cause_of(past.kind.code)
    return beliefs.Outcome(cause, past.kind.country, tuple(declined), accepted_at, credit=credit)


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


def remembering(estimator: Hours) -> Hours:
    """The hours that the estimator picks, with a cache, because many failures ask the same."""

    @cache
    def hours(cause: DeclineCause, quarter: int, first: int, last: int, zone: ZoneInfo) -> int:
        at = datetime.fromtimestamp(quarter * _QUARTER, UTC)
        return (estimator.pick(cause, at, (at + first * ONE_HOUR, at + last * ONE_HOUR), zone) - at) // ONE_HOUR

    return _Remembering(hours)
