"""What the brain would say where only its schedules can speak, without asking it.

Nearly all decisions of a replay are about an open invoice whose attempts all had the same soft decline, and on whose
card too few attempts were made for any limit. Of the rulebook only these rules can then speak: the minimum amount, the
window's end, the holdout, the attempts that are used up, Stripe's own attempts, and the schedule. They are answered
here in the brain's order and by the brain's functions, without its sentences. Of failures for which another payment
method is asked at once, the brain is asked about the first of each kind. For everything else there is no answer (None):
the brain has to be asked. `tests/unit/console/evaluation/backtest/test_shortcut.py` holds replays with shortcuts
against those without, over random pasts and policies.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from console.evaluation.backtest.lessons import Lessons
from console.evaluation.backtest.past import METHOD, Past, decline_of
from console.evaluation.backtest.trace import Made
from console.evaluation.harmless import harmless
from console.evaluation.history import Attempt
from services.worker.recovery import (
    CURRENT_RULES,
    AskNewMethod,
    AttemptNow,
    Close,
    Decision,
    DeclineCause,
    Likeliest,
    Origin,
    PastAttempt,
    Policy,
    Reason,
    RecoveryFacts,
    Schedule,
    Timing,
    Wait,
    decide,
    end_of_card,
    next_retry,
    segment_facts,
)
from services.worker.recovery.attempt_times import next_open
from services.worker.recovery.belief.beliefs import traits_of
from services.worker.recovery.case import Case, by_belief, is_explored
from services.worker.recovery.networks import few_enough, retries_within
from services.worker.recovery.schedule import span, spread
from services.worker.recovery.timezones import zone_of
from shared.policy.segments import segment_of
from shared.recovery_model import EndReason

_ONE_HOUR: Final = timedelta(hours=1)
_HOUR_S: Final = 3600
_WHY: Final = Reason("shortcut", "It follows from what is decided about all failures of this kind.")
_ANY_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
_CLOSE: Final = Close("exhausted", EndReason.WINDOW_OVER, _WHY)
_ASK: Final = AskNewMethod(_WHY, _ANY_TIME)
_ATTEMPT: Final = AttemptNow(_WHY, METHOD)


class Situation(Protocol):
    """What has happened in a replay of one failure so far."""

    now: datetime
    made: list[Made]
    ours: int
    stripe_last: datetime | None

    @property
    def theirs(self) -> datetime | None:
        """When Stripe itself tries next."""

    @property
    def elsewhere_at(self) -> Sequence[float] | None:
        """When attempts for something else were made on the card; None, if an answer to one of them may forbid more."""

    @property
    def attempts(self) -> list[PastAttempt]:
        """The attempts as the brain is told of them."""


@dataclass(slots=True)
class _Plans:
    """The likeliest attempts after declines of one cause and country.

    first: those planned after the failure, by what is believed and the hour of the failure. later: the next one where
    that plan was not followed, by what is believed, the number of ours and the hours of all.
    """

    first: dict[tuple[Hashable, float], tuple[tuple[datetime, float], ...]] = field(default_factory=dict)
    later: dict[tuple[Hashable, ...], datetime | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Kind:
    """What failures have in common that differ only in when they happened and in their invoice."""

    policy: Policy
    segment: str | None
    cause: DeclineCause
    schedule: Schedule
    merchants_matter: bool
    # So many attempts that all ended like this break no rule, whenever they are made.
    harmless: int = -1
    # What the brain says at once, whenever it is.
    at_once: Decision | None = None
    # The same for all kinds of one cause and country.
    plans: "_Plans" = field(default_factory=_Plans)
    # Of the policy, because each decision asks.
    window: timedelta = field(init=False)
    quiet: timedelta = field(init=False)
    gap: timedelta = field(init=False)
    any_time: bool = field(init=False)

    def __post_init__(self) -> None:
        self.window = timedelta(days=self.policy.window_days)
        self.quiet = timedelta(hours=self.policy.quiet_hours_around_stripe)
        self.gap = timedelta(hours=self.policy.minimum_gap_hours)
        self.any_time = self.policy.attempt_times.always


def codes_of(said: Attempt) -> tuple[str | None, ...]:
    """All that the brain is told about how an attempt ended."""
    return (
        said.result,
        said.code,
        said.decline_code,
        said.advice_code,
        said.network_decline_code,
        said.network_advice_code,
    )


class Shortcuts:
    """The shortcuts under one policy."""

    def __init__(self, policy: Policy, lessons: Lessons) -> None:
        self._policy = policy
        self.lessons = lessons
        # By tenure the segment changes with time.
        conditions = [each.when for each in policy.segments]
        self._never = any(
            each.tenure_days_at_least is not None or each.tenure_days_below is not None for each in conditions
        )
        self._kinds: dict[tuple[str | None, ...], _Kind] = {}
        self._plans: dict[Hashable, _Plans] = {}

    def of(self, past: Past, *, watched: bool) -> "Shortcut | None":
        """The shortcut for one failure; None: the brain has to be asked each time."""
        if self._never:
            return None
        segment = None
        if self._policy.segments:
            segment = segment_of(self._policy, segment_facts(past.invoice, past.cause), past.opened)
        card, first = past.failure.card, past.failure.attempts[0]
        dated = "dated" if card.exp_month is not None and card.exp_year is not None else None
        key = (segment, card.network, card.country, card.funding, past.failure.currency, dated, *codes_of(first))
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = self._kind(past, segment, first, dated=dated is not None)
        if kind.policy.backup_methods and past.failure.backups:
            return None
        return Shortcut(self, past, kind, watched=watched)

    def _kind(self, past: Past, segment: str | None, first: Attempt, *, dated: bool) -> _Kind:
        policy, why = self._policy.segment(segment), past.why
        schedule = policy.schedules.for_cause(why.cause)
        kind = _Kind(policy, segment, why.cause, schedule, why.merchants_matter)
        window = timedelta(days=policy.window_days)
        allowed = min(retries_within(CURRENT_RULES, past.card, past.amount, window), policy.max_attempts)
        alike = (segment, why.cause, past.card.country, past.card.funding == "credit", allowed)
        kind.plans = self._plans.setdefault(alike, kind.plans)
        if why.merchants_matter and why.hard:
            return kind
        kind.harmless = harmless(past.card, past.amount, decline_of(first))
        if why.hard or (why.cause is DeclineCause.EXPIRED_CARD and not dated):
            facts, before = RecoveryFacts(past.opened), [past.attempt(1, Origin.STRIPE, past.opened, first)]
            free = policy.model_copy(update={"minimum_amounts": {}, "segments": ()})
            kind.at_once = decide(free, facts, replace(past.invoice, backups=()), before, past.opened)
        return kind


class Shortcut:
    """The shortcut for one failure. `harmless`: so many attempts that end like the first break no rule."""

    __slots__ = (
        "_below",
        "_card_ends",
        "_deadline",
        "_due",
        "_due_for",
        "_followed",
        "_kind",
        "_moved",
        "_past",
        "_plan",
        "_shortcuts",
        "_step",
        "_watched",
        "harmless",
    )

    def __init__(self, shortcuts: Shortcuts, past: Past, kind: _Kind, *, watched: bool) -> None:
        self._shortcuts, self._past, self._kind, self._watched = shortcuts, past, kind, watched
        policy, failure = kind.policy, past.failure
        least = policy.minimum_amounts.get(failure.currency) if policy.minimum_amounts else None
        self._below = least is not None and failure.amount < least
        self._deadline = past.opened + kind.window
        self.harmless = kind.harmless
        year, month = failure.card.exp_year, failure.card.exp_month
        self._card_ends = end_of_card(year, month) if year is not None and month is not None else None
        self._due_for: tuple[int, int] | None = None
        self._due: datetime | None = None
        self._moved = False
        # How many of our attempts were as planned after the failure, by what was known in that step.
        self._plan: tuple[tuple[datetime, float], ...] | None = None
        self._step, self._followed = 0, 0

    def decide(self, so_far: Situation) -> Decision | None:
        """As `services.worker.recovery.decide`, without its reasons; None: the brain has to be asked."""
        if self._below or so_far.now >= self._deadline:
            return _CLOSE
        if self._watched:
            return Wait(self._deadline, _WHY)
        return self._kind.at_once or self._about_attempts(so_far)

    def _about_attempts(self, so_far: Situation) -> Decision | None:
        kind, ours = self._kind, so_far.ours
        if self._card_ends is not None and so_far.now >= self._card_ends:
            return None
        if ours >= kind.policy.max_attempts:
            return _CLOSE
        until = self._after_stripe(so_far)
        most = kind.schedule.max_attempts
        if most is not None and ours >= most and kind.policy.driver != "stripe":
            return None if kind.merchants_matter else _ASK
        if until is not None:
            return Wait(min(until, self._deadline), _WHY)
        return self._by_schedule(so_far) if self._within_limits(so_far) else None

    def _within_limits(self, so_far: Situation) -> bool:
        """Whether no rule of the card's network can forbid an attempt."""
        elsewhere, made, harmless = so_far.elsewhere_at, so_far.made, self._kind.harmless
        if elsewhere is None or harmless < 0:
            return False
        if len(made) + len(elsewhere) <= harmless:
            return True
        times = [*(each.unix for each in made), *elsewhere]
        past = self._past
        return few_enough(CURRENT_RULES, past.card, past.amount, times, so_far.now.timestamp())

    def _after_stripe(self, so_far: Situation) -> datetime | None:
        """Until when Stripe's own attempts are waited for; None: there are none."""
        quiet, theirs, last, now = self._kind.quiet, so_far.theirs, so_far.stripe_last, so_far.now
        if theirs is not None and now < theirs + quiet:
            return theirs + quiet
        if self._kind.policy.driver == "stripe":
            return self._deadline
        return last + quiet if last is not None and now < last + quiet else None

    def _by_schedule(self, so_far: Situation) -> Decision:
        kind, now = self._kind, so_far.now
        lessons = self._shortcuts.lessons
        asked_for = len(so_far.made), lessons.week(now) if lessons.knows else 0
        if asked_for != self._due_for:
            self._due_for, self._due = asked_for, self._scheduled(so_far)
        due = self._due
        if due is None:
            return Wait(self._deadline, _WHY)
        if not kind.any_time:
            due = next_open(kind.policy.attempt_times, max(due, now), self._past.failure.card.country)
        if due <= now:
            if lessons.retries:
                lessons.at(now).moved = self._moved
            return _ATTEMPT
        return Wait(min(due, self._deadline), _WHY)

    def _scheduled(self, so_far: Situation) -> datetime | None:
        """When the schedule and the gap between attempts allow the next one; None: none is worth it."""
        kind, past, now = self._kind, self._past, so_far.now
        schedule, policy, last, tries = kind.schedule, kind.policy, so_far.made[-1].at, len(so_far.made)
        country, key = past.failure.card.country, past.failure.invoice
        self._moved = False
        if isinstance(schedule, Likeliest):
            first = self._likeliest(so_far, schedule)
            if first is None:
                return None
            due = first + _ONE_HOUR * spread(key, tries)
        else:
            due = next_retry(schedule, last, tries, country, key)
            if policy.learns_hours:
                earliest, latest = span(schedule, last, tries, country, due)
                latest = min(latest, self._deadline - _ONE_HOUR)
                timing = self._shortcuts.lessons.at(now)
                due = timing.pick(kind.cause, due, (earliest, latest), zone_of(country))
                self._moved = timing.moved
        return max(due, last + kind.gap)

    def _likeliest(self, so_far: Situation, schedule: Likeliest) -> datetime | None:
        """The next of the likeliest attempts, as `planning.plan` says it: that of the plan after the failure, while all
        were made as it says; otherwise of a new one."""
        plans, made, number = self._kind.plans, so_far.made, len(so_far.made) - 1
        step = self._shortcuts.lessons.step(so_far.now) if self._shortcuts.lessons.knows else 0
        if so_far.ours == number:
            if self._plan is None or step != self._step:
                self._step, self._followed, self._plan = step, 0, self._of_failure(so_far, schedule, step)
            plan, followed = self._plan, self._followed
            while followed < number and followed < len(plan):
                if not 0 <= made[followed + 1].unix - plan[followed][1] < _HOUR_S:
                    break
                followed += 1
            self._followed = followed
            if followed == number:
                return plan[number][0] if number < len(plan) else None
        hours = (self._believed(so_far.now, step), so_far.ours, *(each.unix // _HOUR_S for each in made))
        if hours not in plans.later:
            plans.later[hours] = next(self._planned(so_far, schedule, so_far.attempts), None)
        return plans.later[hours]

    def _of_failure(self, so_far: Situation, schedule: Likeliest, step: int) -> tuple[tuple[datetime, float], ...]:
        """The attempts that are planned after the failure, and when they are in unix seconds."""
        plans, key = self._kind.plans, (self._believed(so_far.now, step), so_far.made[0].unix // _HOUR_S)
        found = plans.first.get(key)
        if found is None:
            planned = self._planned(so_far, schedule, so_far.attempts[:1])
            found = plans.first[key] = tuple([(at, at.timestamp()) for at in planned])
        return found

    def _believed(self, now: datetime, step: int) -> Hashable:
        """Names what is believed of this failure in this step: failures for which it is the same share a plan."""
        learned = self._shortcuts.lessons.learned(now)
        if learned is None:
            return ()
        path = learned.path(traits_of(self._past.card, self._past.amount))
        return step, is_explored(self._past.failure.invoice), path

    def _planned(self, so_far: Situation, schedule: Likeliest, attempts: Sequence[PastAttempt]) -> Iterator[datetime]:
        kind, past, now = self._kind, self._past, so_far.now
        facts = RecoveryFacts(past.opened, jitter_key=past.failure.invoice)
        timing = Timing(learned=self._shortcuts.lessons.learned(now))
        case = Case(kind.policy, facts, past.invoice, tuple(attempts), now, (), CURRENT_RULES, timing, kind.segment)
        return (each.at for each in by_belief(case, schedule, kind.cause).planned)
