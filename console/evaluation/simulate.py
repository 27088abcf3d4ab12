"""Plays strategies on one population: counts, shares, and differences with intervals."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import sqrt
from typing import Final

from console.evaluation.again import population_of
from console.evaluation.clairvoyant import Clairvoyant
from console.evaluation.play import NOBODY, RETRY, Fate, play
from console.evaluation.population import DAY, Failure, cause_of
from console.evaluation.resting import collector_rests
from console.evaluation.strategies import Step, Strategy
from console.evaluation.worlds import World
from services.ledger.calibration.measure import BINS, Bin
from services.worker.recovery import DeclineCause

Z_95: Final = 1.96


@dataclass(slots=True)
class Tally:
    """Sums of a strategy's fates. `beyond`: paid, where the clairvoyant has no payment: by an attempt that breaks a
    rule, or after the window. `predicted`: the attempts of which somebody had said how likely they succeed, by that."""

    failures: int = 0
    retry: int = 0
    message: int = 0
    alone: int = 0
    attempts: int = 0
    breaches: int = 0
    messages: int = 0
    days: float = 0.0
    beyond: int = 0
    predicted: list[Bin] = field(default_factory=lambda: [Bin()] * BINS)

    def add(self, failure: Failure, fate: Fate, *, possible: bool = True) -> None:
        """Count one. `possible`: whether it could be had under the rules."""
        self.failures += 1
        self.attempts += fate.attempts
        self.breaches += fate.breaches
        self.messages += fate.messages
        if fate.by != NOBODY:
            setattr(self, fate.by, getattr(self, fate.by) + 1)
            self.days += (fate.paid_at - failure.kind.opened_at) / DAY
            self.beyond += not possible

    def compare(self, steps: Iterable[Step], fate: Fate) -> None:
        """Count what was said of the attempts that were made of a plan's."""
        for step, _ in zip(steps, range(fate.attempts), strict=False):
            if step.chance is not None:
                succeeded = fate.by == RETRY and step.at == fate.paid_at
                self.predicted[min(BINS - 1, int(step.chance * BINS))] += Bin(1, step.chance, succeeded)

    @property
    def paid(self) -> int:
        """How many were paid in the end, by anybody."""
        return self.retry + self.message + self.alone

    @property
    def share(self) -> float:
        """The share that was paid."""
        return self.paid / self.failures if self.failures else 0.0

    @property
    def within(self) -> float:
        """The share that was paid and could be had under the rules."""
        return (self.paid - self.beyond) / self.failures if self.failures else 0.0


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
    """The results by strategy's name, in the order given; the clairvoyant's come last, if it was asked for.

    `seconds`: processor time of this process.
    """

    seed: int
    failures: int
    seconds: float
    tallies: dict[str, Tally]
    by_cause: dict[DeclineCause, dict[str, Tally]]
    against: dict[str, Difference]
    world: str
    clairvoyant: str | None = None

    @property
    def played_a_second(self) -> float:
        """Recoveries played per second of one core, all strategies together."""
        return self.failures * len(self.tallies) / self.seconds

    @property
    def possible(self) -> float:
        """The share that the clairvoyant has paid. Raises KeyError if it was not asked for."""
        return self.tallies[self.clairvoyant or ""].share


def simulate(
    strategies: Sequence[Strategy], *, failures: int, seed: int, world: World, clairvoyant: Clairvoyant | None = None
) -> Simulation:
    """Play `failures` failed renewals of a world and a seed under each strategy, and by the clairvoyant.

    `against` compares the first strategy with each of the others. Raises ValueError without failures or strategies.
    """
    if failures < 1 or not strategies:
        raise ValueError("there is nothing to simulate: give at least one failure and one strategy")
    began = time.process_time()
    names = [strategy.name for strategy in strategies] + ([clairvoyant.name] if clairvoyant else [])
    tallies = {name: Tally() for name in names}
    causes: defaultdict[DeclineCause, dict[str, Tally]] = defaultdict(lambda: {name: Tally() for name in names})
    paired = {name: _Paired() for name in names[1:]}
    with collector_rests():
        for failure in islice(population_of(world, seed), failures):
            of_cause = causes[cause_of(failure.kind.code)]
            fates = [play(strategy, failure) for strategy in strategies]
            for strategy, own in zip(strategies, fates, strict=True):
                if strategy.predicts:
                    tallies[strategy.name].compare(strategy.plan_of(failure).attempts, own)
            if clairvoyant is not None:
                fates.append(clairvoyant.play(failure))
            first_paid, possible = fates[0].by != NOBODY, clairvoyant is None or fates[-1].by != NOBODY
            for name, fate in zip(names, fates, strict=True):
                tallies[name].add(failure, fate, possible=possible)
                of_cause[name].add(failure, fate, possible=possible)
                if name in paired:
                    paired[name].add(first_paid - (fate.by != NOBODY))
    seconds = time.process_time() - began
    against = {name: each.difference for name, each in paired.items()}
    known = clairvoyant.name if clairvoyant else None
    return Simulation(seed, failures, seconds, tallies, dict(causes), against, world.name, known)
