"""The brain that remembers its customers: it plans by how their earlier failures ended, as the worker does.

Each earlier failure was planned as if it had been the customer's first.
"""

from console.evaluation.on_record import outcome_of
from console.evaluation.population import Failure
from console.evaluation.strategies import Brain, Plan
from services.worker.recovery import BY_THE_RULES, Policy, Timing


class Remembering(Brain):
    """The brain under a policy. If that learns and believes, customers who have failed before have plans of their own,
    which take some milliseconds each; all others share theirs."""

    def __init__(self, name: str, policy: Policy, timing: Timing = BY_THE_RULES) -> None:
        super().__init__(name, policy, timing)
        self._remembers = policy.timing == "learned" and policy.believes
        self._last: tuple[Failure, Plan] | None = None

    def plan_of(self, failure: Failure) -> Plan:
        """What it does about this failure."""
        if not (failure.earlier and self._remembers):
            return self.plan(failure.kind)
        # A simulation asks twice for each failure, one after the other.
        if self._last is None or self._last[0] is not failure:
            self._last = failure, self._planned_by_earlier(failure)
        return self._last[1]

    def _planned_by_earlier(self, failure: Failure) -> Plan:
        known = (outcome_of(self, each, failure.kind.opened_at) for each in failure.earlier)
        outcomes = tuple([each for each in known if each is not None])
        return self.plan_after(failure.kind, outcomes) if outcomes else self.plan(failure.kind)
