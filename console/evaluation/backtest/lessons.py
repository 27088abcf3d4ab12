"""What learned timing knew at each time of a replay: from the merchant's own past on record before it.

The worker learns at every decision: hours from the merchant's last 2,000 retries, and what is believed of customers
from the last 2,000 recoveries. A replay learns in steps: hours on Mondays (00:00 UTC), beliefs on every fourth one,
because that takes up to a second. What is known holds for all decisions until the next. It learns from the attempts
that were made, not from those that the policy would have made: nobody knows how these would have ended.

Hours are learned from the merchant's own retries alone, beliefs from Stripe's, too: when a bank accepts does not depend
on who asks.
"""

from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from console.evaluation.backtest.past import Past, understood
from console.evaluation.learning import REMEMBERED, remembering
from services.worker.recovery import DeclineCause
from services.worker.recovery.belief.beliefs import Learned, traits_of
from services.worker.recovery.belief.learning import Outcome, learn
from services.worker.recovery.estimator import Estimator, Observed
from services.worker.recovery.timezones import zone_of
from services.worker.recovery.timing import Hours
from shared.ids import PaymentMethodId

_WEEK: Final = timedelta(weeks=1)
WEEKS_OF_STEP: Final = 4
_A_MONDAY: Final = datetime(2024, 1, 1, tzinfo=UTC)


class Noting:
    """Picks hours, and notes whether the last was another time than the schedule's (`moved`). Without `hours` it never
    is."""

    __slots__ = ("_hours", "moved")

    def __init__(self, hours: Hours | None = None) -> None:
        self._hours = hours
        self.moved = False

    def pick(
        self, cause: DeclineCause, scheduled: datetime, between: tuple[datetime, datetime], zone: ZoneInfo
    ) -> datetime:
        """As `Hours.pick`."""
        picked = scheduled if self._hours is None else self._hours.pick(cause, scheduled, between, zone)
        self.moved = picked != scheduled
        return picked


class Beliefs:
    """What could be believed of the merchant's customers, step by step; nothing is learned before it is asked for."""

    def __init__(self, pasts: Iterable[Past] = ()) -> None:
        tried = [(past, found) for past in pasts if (found := outcome(past)) is not None]
        self._pasts = [past for past, _ in sorted(tried, key=lambda each: each[1].last_at)]
        self._learned: dict[int, Learned | None] = {}

    @property
    def recoveries(self) -> int:
        """How many there are to learn from in all."""
        return len(self._pasts)

    def at(self, step: int) -> Learned | None:
        """What could be learned before the step begins; None: nothing."""
        if step not in self._learned:
            begins = _A_MONDAY + step * WEEKS_OF_STEP * _WEEK
            known = [found for past in self._pasts if (found := outcome(past, begins.timestamp())) is not None]
            self._learned[step] = learn(known, begins) if known else None
        return self._learned[step]

    @property
    def last(self) -> Learned | None:
        """The latest that was asked for; None: nothing was learned."""
        return self._learned[max(self._learned)] if self._learned else None


class Lessons:
    """What could be known week by week. Without `pasts` nothing ever is."""

    def __init__(self, pasts: Iterable[Past] = ()) -> None:
        pasts = list(pasts)
        retries = [each for past in pasts for each in _retries(past)]
        retries.sort(key=lambda each: each[0])
        self._at = [at for at, _ in retries]
        self._observed = [observed for _, observed in retries]
        self._weeks: dict[int, Noting] = {}
        self._teach(Beliefs(pasts))

    def without_hours(self) -> "Lessons":
        """The same beliefs, but no hours."""
        other = Lessons()
        other._teach(self.beliefs)
        return other

    def _teach(self, beliefs: Beliefs) -> None:
        self.beliefs = beliefs
        self._believes, self.knows = bool(beliefs.recoveries), bool(self._at or beliefs.recoveries)

    @property
    def retries(self) -> int:
        """How many retries there are to learn hours from in all."""
        return len(self._at)

    def week(self, now: datetime) -> int:
        """The week of `now`: what is known changes with it, if at all."""
        return (now - _A_MONDAY) // _WEEK if self.knows else 0

    def step(self, now: datetime) -> int:
        """The step of `now`: what is believed changes with it, if at all."""
        return self.week(now) // WEEKS_OF_STEP if self._believes else 0

    def at(self, now: datetime) -> Noting:
        """The hours that could have been learned by the beginning of the week of `now`."""
        week = self.week(now)
        if week not in self._weeks:
            self._weeks[week] = Noting(remembering(self.estimator(now)) if self._at else None)
        return self._weeks[week]

    def learned(self, now: datetime) -> Learned | None:
        """What could be believed at the beginning of the step of `now`; None: what anybody believes."""
        return self.beliefs.at(self.step(now)) if self._believes else None

    def estimator(self, now: datetime) -> Estimator:
        """What was known of hours at the beginning of the week of `now`."""
        known = bisect_left(self._at, (_A_MONDAY + self.week(now) * _WEEK).timestamp())
        return Estimator.learn(self._observed[max(0, known - REMEMBERED) : known])


def outcome(past: Past, until: float = float("inf")) -> Outcome | None:
    """What became of a failure's retries with its first payment method before `until` (unix seconds): up to the
    success, the customer's payment or a decline for good. None without any, and after a failure for good."""
    if past.why.hard or past.opened_at >= until:
        return None
    declined, accepted_at = [past.opened], None
    for each in past.retries:
        if each.at >= until or each.result == "requires_action":
            break
        if each.method is not None:
            continue
        at = datetime.fromtimestamp(each.at, UTC)
        if each.result == "succeeded":
            accepted_at = at
        elif understood(each).hard:
            break
        else:
            declined.append(at)
    if accepted_at is None and len(declined) == 1:
        return None
    return Outcome(past.cause, traits_of(past.card, past.amount), tuple(declined), accepted_at)


def _retries(past: Past) -> Iterable[tuple[int, Observed]]:
    """The retries of a failure as the worker reads them from its rows: when, after which decline, whether it worked."""
    cause: DeclineCause | None = None
    for each in (past.failure.attempts[0], *past.retries):
        if cause is not None and each.result != "requires_action":
            card = past.card if each.method is None else past.card_of(PaymentMethodId(each.method))
            at = datetime.fromtimestamp(each.at, UTC).astimezone(zone_of(card.country))
            yield each.at, Observed(cause, at, each.result == "succeeded")
        if each.result == "declined":
            cause = understood(each).cause
