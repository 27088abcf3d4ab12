"""When the brain attempts, where only its schedules can speak: worked out once for all failures that share it.

Failures whose declines are soft and have one cause, in one hour, on cards of one country, are tried at the same times,
whatever the card's network, as long as that allows as many attempts. Of the rulebook only the attempts that are used
up, the window's end and the schedule can then speak: they are asked here by the brain's own functions, without its
sentences. Where more can speak (segments, smallest amounts, Stripe as the driver, expired cards, hard declines), or the
network forbids an attempt, the brain is asked for every decision. `tests/unit/console/evaluation/test_strategies.py`
holds one against the other.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from console.evaluation.population import Kind
from console.evaluation.unfolding import Unfolding
from services.worker.recovery import (
    CURRENT_RULES,
    AttemptResult,
    Decline,
    DeclineCause,
    InvoiceTruth,
    Origin,
    PastAttempt,
    Policy,
    RecoveryFacts,
    Timing,
    classify,
)
from services.worker.recovery.case import Case, Due, next_cause, used_for, when_due
from services.worker.recovery.networks import retries_within


class Courses:
    """The courses under one policy and timing, by what failures share."""

    def __init__(self, policy: Policy, timing: Timing, group: Callable[[Kind], Hashable] | None = None) -> None:
        """`group`: of the kinds for which something else was learned."""
        self._policy, self._timing, self._group = policy, timing, group
        self._simple = not policy.segments and not policy.minimum_amounts and policy.driver != "stripe"
        self._known: dict[Hashable, Unfolding[Due]] = {}

    def of(self, kind: Kind, facts: RecoveryFacts, invoice: InvoiceTruth) -> Iterable[Due] | None:
        """When the brain attempts while no network forbids it; None: it has to be asked."""
        why = classify(kind.decline)
        if not self._simple or why.hard or why.cause is DeclineCause.EXPIRED_CARD:
            return None
        window = timedelta(days=self._policy.window_days)
        allowed = min(
            retries_within(CURRENT_RULES, kind.card, invoice.amount_remaining, window), self._policy.max_attempts
        )
        key: tuple[Hashable, ...] = (why.cause, kind.opened_at, kind.country, kind.funding, kind.spread, allowed)
        if self._group is not None:
            key = (*key, self._group(kind))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Unfolding(self._unfold(kind.decline, facts, invoice))
        return found

    def _unfold(self, decline: Decline, facts: RecoveryFacts, invoice: InvoiceTruth) -> Iterator[Due]:
        def attempt(at: datetime, origin: Origin) -> PastAttempt:
            said, amount = AttemptResult.DECLINED, invoice.amount_remaining
            return PastAttempt(len(made) + 1, origin, said, at, invoice.payment_method_id, None, amount, decline)

        made: list[PastAttempt] = []
        made.append(attempt(facts.opened_at, Origin.STRIPE))
        while True:
            case = Case(self._policy, facts, invoice, tuple(made), made[-1].at, (), CURRENT_RULES, self._timing)
            cause = next_cause(case)
            most = self._policy.schedules.for_cause(cause).max_attempts
            if case.budget.attempts_left <= 0 or (most is not None and used_for(case, cause) >= most):
                return
            due = when_due(case)
            if due.worthless or due.at >= case.deadline:
                return
            due = replace(due, at=max(due.at, case.now))
            made.append(attempt(due.at, Origin.CITADEL))
            yield due
