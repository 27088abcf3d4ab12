"""What learned timing knew at each time of a replay: from the merchant's own retries on record before it.

The worker learns at every decision from the merchant's last 2,000 retries. A replay learns in steps: what is known at
the start of a week (Monday, 00:00 UTC) holds for all decisions in it. It learns from the retries that were made, not
from those that the policy would have made: nobody knows how these would have ended.
"""

from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from console.evaluation.backtest.past import Past, understood
from console.evaluation.learning import REMEMBERED, remembering
from services.worker.recovery import BY_THE_RULES, DeclineCause, Timing
from services.worker.recovery.estimator import Estimator, Observed
from services.worker.recovery.timezones import zone_of
from shared.ids import PaymentMethodId

_WEEK: Final = timedelta(weeks=1)
_A_MONDAY: Final = datetime(2024, 1, 1, tzinfo=UTC)


class Noting:
    """A timing that notes whether its last answer was another time than the schedule's (`moved`)."""

    __slots__ = ("_timing", "moved")

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.moved = False

    def pick(
        self, cause: DeclineCause, scheduled: datetime, between: tuple[datetime, datetime], zone: ZoneInfo
    ) -> datetime:
        """As the other timing."""
        picked = self._timing.pick(cause, scheduled, between, zone)
        self.moved = picked != scheduled
        return picked


class Lessons:
    """What could be known week by week. Without `pasts` nothing ever is."""

    def __init__(self, pasts: Iterable[Past] = ()) -> None:
        retries = [each for past in pasts for each in _retries(past)]
        retries.sort(key=lambda each: each[0])
        self._at = [at for at, _ in retries]
        self._observed = [observed for _, observed in retries]
        self._weeks: dict[int, Noting] = {}

    @property
    def retries(self) -> int:
        """How many retries there are to learn from in all."""
        return len(self._at)

    def week(self, now: datetime) -> int:
        """The week of `now`: what is known changes with it."""
        return (now - _A_MONDAY) // _WEEK if self._at else 0

    def at(self, now: datetime) -> Noting:
        """The timing that could have been learned by the beginning of the week of `now`."""
        week = self.week(now)
        if week not in self._weeks:
            self._weeks[week] = Noting(remembering(self.estimator(now)) if self._at else BY_THE_RULES)
        return self._weeks[week]

    def estimator(self, now: datetime) -> Estimator:
        """What was known at the beginning of the week of `now`."""
        known = bisect_left(self._at, (_A_MONDAY + self.week(now) * _WEEK).timestamp())
        return Estimator.learn(self._observed[max(0, known - REMEMBERED) : known])


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
