"""Plays one failure under one strategy."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from console.evaluation.population import NEVER, Failure
from console.evaluation.strategies import Plan, Strategy

RETRY: Final = "retry"
MESSAGE: Final = "message"
ALONE: Final = "alone"
NOBODY: Final = "nobody"
UNEXPLAINED: Final = "generic_decline"


@dataclass(frozen=True, slots=True)
class Fate:
    """How a failure ended under one strategy. `paid_at` is NEVER when it was not paid."""

    paid_at: float
    by: str
    attempts: int
    breaches: int
    messages: int


def play(strategy: Strategy, failure: Failure) -> Fate:
    """Play one failure under one strategy: attempts and messages go on until it is paid."""
    plan = strategy.plan_of(failure)
    paid_at, by = paid_by_customer(plan, failure)
    made = breaches = 0
    tried = [failure.kind.opened_at]
    for step in plan.attempts:
        if step.at >= paid_at:
            break
        breaches += step.breach
        if failure.approves(step.at, made, tried):
            paid_at, by = step.at, RETRY
        made += 1
        tried.append(step.at)
    updated_at = failure.fate.updated_at
    if strategy.hears_of_new_cards and updated_at < min(paid_at, plan.ends):
        for at in _with_renewed_card(strategy, failure, updated_at):
            if at >= min(paid_at, plan.ends):
                break
            made += 1
            if failure.approves(at, made, tried):
                paid_at, by = at, RETRY
            tried.append(at)
    return Fate(paid_at, by if paid_at < NEVER else NOBODY, made, breaches, messages_until(plan, paid_at))


def _with_renewed_card(strategy: Strategy, failure: Failure, updated_at: float) -> Iterator[float]:
    """At once; and if that is declined, which says nothing of its cause here, as after any decline."""
    yield updated_at
    kind = replace(failure.kind, code=UNEXPLAINED, opened_at=updated_at)
    for step in strategy.plan(kind).attempts:
        yield step.at


def paid_by_customer(plan: Plan, failure: Failure) -> tuple[float, str]:
    """When the customer pays if no attempt succeeds before, and why; NEVER and ALONE for one who never does."""
    paid_at, by = failure.alone_at, ALONE
    for number, sent_at in enumerate(plan.messages[: len(failure.answers)]):
        if sent_at >= paid_at:
            break
        answered_at = failure.answered_at(number, sent_at)
        if answered_at < paid_at:
            paid_at, by = answered_at, MESSAGE
    return paid_at, by


def messages_until(plan: Plan, paid_at: float) -> int:
    """How many messages are sent if it is paid at `paid_at`."""
    return bisect_left(plan.messages, paid_at)
