"""The brain that goes on learning: what was learned until a week is what its renewals are planned by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

from console.evaluation.population import DAY, FIRST_DAY, Failure, Kind
from console.evaluation.remembering import Remembering
from console.evaluation.strategies import Plan
from services.worker.recovery import Policy, Timing
from services.worker.recovery.case import is_explored

WEEK: Final = 7 * DAY


def midnight(day: date) -> float:
    """When a day begins in UTC, in seconds since the epoch."""
    return datetime.combine(day, datetime.min.time(), UTC).timestamp()


BEGINS: Final = midnight(FIRST_DAY)
"""When the first compared week begins."""


@dataclass(frozen=True, slots=True)
class Weekly:
    """The brain with what was learned until each of some weeks, from the first compared one on; and those that
    explore."""

    of_weeks: Sequence[Remembering]
    exploring: Sequence[Remembering]

    @classmethod
    def of(cls, name: str, policy: Policy, timings: Sequence[Timing]) -> "Weekly":
        """By what was learned until each week."""
        return cls(
            [Remembering(name, policy, each) for each in timings],
            [Remembering(name, policy, replace(each, explores=True)) for each in timings],
        )

    @property
    def name(self) -> str:
        """As of each."""
        return self.of_weeks[0].name

    @property
    def hears_of_new_cards(self) -> bool:
        """As each."""
        return self.of_weeks[0].hears_of_new_cards

    @property
    def predicts(self) -> bool:
        """As each."""
        return self.of_weeks[0].predicts

    def plan(self, kind: Kind) -> Plan:
        """What it does about failures of a kind."""
        return self._for(kind).plan(kind)

    def plan_of(self, failure: Failure) -> Plan:
        """What it does about this failure."""
        return self._for(failure.kind).plan_of(failure)

    def _for(self, kind: Kind) -> Remembering:
        """The brain of the week in which it fails."""
        # Kinds have few jitter keys, so that they share plans: another key says which ones explore.
        explores = is_explored(f"{kind.opened_at}/{kind.code}/{kind.country}/{kind.network}/{kind.amount}")
        week = int((kind.opened_at - BEGINS) // WEEK)
        return (self.exploring if explores else self.of_weeks)[min(max(week, 0), len(self.of_weeks) - 1)]
