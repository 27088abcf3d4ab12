"""Plays strategies on one population: counts, shares, and differences with intervals."""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import sqrt
from typing import Final

from console.evaluation.population import DAY, MODEL, NEVER, Failure, Population
from console.evaluation.strategies import Strategy
from services.worker.recovery import DeclineCause

Z_95: Final = 1.96


@dataclass(frozen=True, slots=True)
class Fate:
    """How a failure ended under one strategy. `paid_at` is NEVER when it was not paid."""

    paid_at: float
    by: str
    attempts: int
    breaches: int
    messages: int


RETRY, MESSAGE, ALONE, NOBODY = "retry", "message", "alone", "nobody"


def play(strategy: Strategy, failure: Failure) -> Fate:
    """Play one failure under one strategy: attempts and messages go on until it is paid."""
    plan = strategy.plan(failure.kind)
    paid_at, by = failure.alone_at, ALONE
    for sent_at, answer in zip(plan.messages, failure.answers, strict=False):
        if sent_at >= paid_at:
            break
        if sent_at + answer < paid_at:
            paid_at, by = sent_at + answer, MESSAGE
    made = breaches = 0
    for step in plan.attempts:
        if step.at >= paid_at:
            break
        breaches += step.breach
        if failure.approves(step.at, made):
            paid_at, by = step.at, RETRY
        made += 1
    updated_at = failure.fate.updated_at
    if strategy.hears_of_new_cards and updated_at < min(paid_at, plan.ends):
        # The one attempt that a renewed card causes.
        made += 1
        if failure.approves(updated_at, made):
            paid_at, by = updated_at, RETRY
    sent = bisect_left(plan.messages, paid_at)
    return Fate(paid_at, by if paid_at < NEVER else NOBODY, made, breaches, sent)


@dataclass(slots=True)
class Tally:
    """Sums of a strategy's fates."""

    failures: int = 0
    retry: int = 0
    message: int = 0
    alone: int = 0
    attempts: int = 0
    breaches: int = 0
    messages: int = 0
    days: float = 0.0

    def add(self, failure: Failure, fate: Fate) -> None:
        """Count one."""
        self.failures += 1
        self.attempts += fate.attempts
        self.breaches += fate.breaches
        self.messages += fate.messages
        if fate.by != NOBODY:
            setattr(self, fate.by, getattr(self, fate.by) + 1)
            self.days += (fate.paid_at - failure.kind.opened_at) / DAY

    @property
    def paid(self) -> int:
        """How many were paid in the end, by anybody."""
        return self.retry + self.message + self.alone

    @property
    def share(self) -> float:
        """The share that was paid."""
        return self.paid / self.failures if self.failures else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """How much larger the first strategy's paid share is, and the half width of its 95 % interval."""

    share: float
    plus_minus: float


@dataclass(slots=True)
class _Paired:
    """Differences failure by failure: the same customers under both, so that most randomness cancels out."""

    count: int = 0
    total: int = 0
    squares: int = 0

    def add(self, difference: int) -> None:
        self.count += 1
        self.total += difference
        self.squares += difference * difference

    @property
    def difference(self) -> Difference:
        mean = self.total / self.count
        variance = max(0.0, self.squares / self.count - mean * mean)
        return Difference(mean, Z_95 * sqrt(variance / self.count))


@dataclass(slots=True)
class Simulation:
    """The results by strategy's name, in the order given. `seconds`: processor time of this process."""

    seed: int
    failures: int
    seconds: float
    tallies: dict[str, Tally]
    by_cause: dict[DeclineCause, dict[str, Tally]]
    against: dict[str, Difference]

    @property
    def played_a_second(self) -> float:
        """Recoveries played per second of one core, all strategies together."""
        return self.failures * len(self.tallies) / self.seconds


def simulate(strategies: Sequence[Strategy], *, failures: int, seed: int) -> Simulation:
    """Play `failures` failed renewals of the seed's population under each strategy.

    `against` compares the first strategy with each of the others. Raises ValueError without failures or strategies.
    """
    if failures < 1 or not strategies:
        raise ValueError("there is nothing to simulate: give at least one failure and one strategy")
    began = time.process_time()
    tallies = {strategy.name: Tally() for strategy in strategies}
    causes: defaultdict[DeclineCause, dict[str, Tally]] = defaultdict(
        lambda: {each.name: Tally() for each in strategies}
    )
    paired = {strategy.name: _Paired() for strategy in strategies[1:]}
    for failure in islice(Population(seed), failures):
        of_cause = causes[MODEL[failure.kind.code].cause]
        first_paid = 0
        for index, strategy in enumerate(strategies):
            fate = play(strategy, failure)
            tallies[strategy.name].add(failure, fate)
            of_cause[strategy.name].add(failure, fate)
            if index == 0:
                first_paid = fate.by != NOBODY
            else:
                paired[strategy.name].add(first_paid - (fate.by != NOBODY))
    seconds = time.process_time() - began
    against = {name: each.difference for name, each in paired.items()}
    return Simulation(seed, failures, seconds, tallies, dict(causes), against)
