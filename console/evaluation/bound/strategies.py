"""Who knows what, in the same small worlds: the generator, the world, or what our planner knows.

Every world counts as much: a strategy's share is the mean of its shares of what the clairvoyant collects in each. So in
one schedule for all of them a world's customers weigh by one over what is possible there; a price is one of a payment.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp
from typing import Final

import numpy as np

from console.evaluation.bound.best import Gains, Schedule, best, greedy
from console.evaluation.bound.law import Law, laws_of
from console.evaluation.learning import as_learned, learn
from console.evaluation.population import SPREADS, Kind
from console.evaluation.strategies import Brain
from console.evaluation.worlds import World
from console.evaluation.worlds.banks import HOUR
from services.worker.recovery import BY_THE_RULES, DeclineCause, Policy, Timing
from services.worker.recovery.belief.doubt import PLANS
from services.worker.recovery.belief.groups import Traits
from services.worker.recovery.belief.parts import Weights
from services.worker.recovery.belief.prior import prior
from shared.policy import Likeliest

Play = Callable[[Law], Sequence[float]]
HARDEST: Final = 60
"""Of so many worlds the weights move."""
ROUNDS: Final = 20
RATE: Final = 3.0
"""How fast. By more rounds or other rates the bound has come down by a point at most, of 77 to 78 %."""
_FUNDS: Final = DeclineCause.INSUFFICIENT_FUNDS


@dataclass(frozen=True)
class Small:
    """A small world with its laws: one for each day on which renewals fail, all as likely."""

    seed: int
    world: World
    laws: Sequence[Law]

    @classmethod
    def of(cls, seed: int, world: World, policy: Policy) -> "Small":
        """By a policy's rules: its window, and the least gap to the failure."""
        return cls(seed, world, laws_of(world, policy.window_days, policy.minimum_gap_hours))

    @cached_property
    def possible(self) -> float:
        """What the clairvoyant collects, of all failures."""
        return _mean([law.possible for law in self.laws])

    def kind(self, law: Law, spread: int) -> Kind:
        """What our planner is told of a failure."""
        renewals, code = self.world.renewals, self.world.causes.codes[0].code
        (country,), amount = renewals.countries, renewals.amounts[0].minor_units
        card = (renewals.networks[0].name, spread, renewals.funding[0].name)
        return Kind(code, law.opened_at, country.code, *card, country.currency, amount)


@dataclass(frozen=True, slots=True)
class InWorld:
    """A strategy in one world: the share of what is possible, and the attempts for each failure."""

    of_possible: float
    attempts: float
    possible: float


@dataclass(frozen=True, slots=True)
class Reached:
    """A strategy in all worlds. price: of an attempt, in payments; None where the strategy has one of its own."""

    name: str
    price: float | None
    worlds: Sequence[InWorld]

    @property
    def of_possible(self) -> float:
        """The mean share of what is possible."""
        return _mean([each.of_possible for each in self.worlds])

    @property
    def worst(self) -> float:
        """The share in the worst world."""
        return min(each.of_possible for each in self.worlds)

    @property
    def attempts(self) -> float:
        """For each failure, the mean over the worlds."""
        return _mean([each.attempts for each in self.worlds])

    @property
    def a_payment(self) -> float:
        """Attempts for each payment that is possible, the mean over the worlds: what a price counts."""
        return _mean([each.attempts / each.possible for each in self.worlds])


def reached(name: str, price: float | None, worlds: Sequence[Small], plays: Sequence[Sequence[Schedule]]) -> Reached:
    """From each world's schedules, one for each of its laws."""
    found = []
    for world, schedules in zip(worlds, plays, strict=True):
        collected = _mean([each.collected for each in schedules])
        attempts = _mean([each.attempts for each in schedules])
        found.append(InWorld(collected / world.possible, attempts, world.possible))
    return Reached(name, price, found)


# --- Who knows the generator -----------------------------------------------------------------------------------------


class Mixture:
    """All worlds at once: for each day of failures whom attempts reach in the mean world.

    `weights`: what each world counts, adding up to 1; by default all as much.
    """

    def __init__(self, worlds: Sequence[Small], policy: Policy, weights: Sequence[float] | None = None) -> None:
        self._most = policy.max_attempts
        shares = weights or [1 / len(worlds)] * len(worlds)
        self._gains = {law.opened_at: _mixed(worlds, shares, number) for number, law in enumerate(worlds[0].laws)}
        self._changes = {at: gains.only(gains.changes) for at, gains in self._gains.items()}

    def best(self, price: float, gap: float = 0.0) -> dict[float, Schedule]:
        """By the time of the failure the best schedule of all that are the same in all worlds. `gap`: the least seconds
        between two attempts."""
        of_days = self._gains if gap else self._changes
        return {at: best(gains, price, self._most, gap) for at, gains in of_days.items()}

    def greedy(self, price: float, gap: float) -> dict[float, Schedule]:
        """By the time of the failure the schedule that our planner's rule chooses."""
        return {at: greedy(gains, price, self._most, gap) for at, gains in self._gains.items()}


def _mixed(worlds: Sequence[Small], shares: Sequence[float], number: int) -> Gains:
    first = worlds[0].laws[number]
    weights = [share / each.possible for share, each in zip(shares, worlds, strict=True)]
    beginning = np.zeros((len(first.closed), len(first.at), len(first.at)))
    for weight, each in zip(weights, worlds, strict=True):
        beginning += weight * each.laws[number].beginning()
    return Gains.of(first.at, first.part, beginning, sum(weights))


def everywhere(name: str, price: float, worlds: Sequence[Small], schedules: dict[float, Schedule]) -> Reached:
    """The same schedules in all worlds."""
    plays = [[law.played(schedules[law.opened_at].at) for law in each.laws] for each in worlds]
    return reached(name, price, worlds, plays)


def sure_everywhere(worlds: Sequence[Small], policy: Policy, rounds: int = ROUNDS) -> float:
    """A share of what is possible that nobody exceeds in every world who does not know the world, not even by lot, with
    as many attempts as the policy allows and whatever they cost.

    The best mean share over worlds of any weights is such a bound. The weights move, round by round, to the worlds in
    which the best schedules had less (multiplicative weights: Freund and Schapire 1999, Adaptive game playing using
    multiplicative weights, https://doi.org/10.1006/game.1999.0738), from the worlds that are hardest at even weights.
    """
    even = everywhere("", 0.0, worlds, Mixture(worlds, policy).best(0.0))
    order = sorted(range(len(worlds)), key=lambda number: even.worlds[number].of_possible)
    hardest = [worlds[number] for number in order[:HARDEST]]
    least, weights = even.of_possible, [1 / len(hardest)] * len(hardest)
    for _ in range(rounds):
        found = everywhere("", 0.0, hardest, Mixture(hardest, policy, weights).best(0.0))
        shares = [each.of_possible for each in found.worlds]
        least = min(least, sum(weight * share for weight, share in zip(weights, shares, strict=True)))
        moved = [weight * exp(-RATE * share) for weight, share in zip(weights, shares, strict=True)]
        weights = [weight / sum(moved) for weight in moved]
    return least


# --- Who knows the world ---------------------------------------------------------------------------------------------


class Known:
    """Each world by itself: whom attempts reach there."""

    def __init__(self, worlds: Sequence[Small], policy: Policy) -> None:
        self._worlds, self._most = worlds, policy.max_attempts
        self._gains = [[law.gains() for law in each.laws] for each in worlds]
        self._changes = [[gains.only(gains.changes) for gains in each] for each in self._gains]

    def best(self, name: str, price: float, gap: float = 0.0) -> Reached:
        """The best schedule of each world. `gap`: the least seconds between two attempts."""
        of_worlds = self._gains if gap else self._changes
        plays = [[best(gains, price, self._most, gap) for gains in each] for each in of_worlds]
        return reached(name, price, self._worlds, plays)

    def greedy(self, name: str, price: float, gap: float) -> Reached:
        """The schedule that our planner's rule chooses in each world."""
        plays = [[greedy(gains, price, self._most, gap) for gains in each] for each in self._gains]
        return reached(name, price, self._worlds, plays)


# --- Our planner -----------------------------------------------------------------------------------------------------


class Planner:
    """Our planner under a policy: before it has seen anything, and with what it has learned of each world."""

    def __init__(self, policy: Policy) -> None:
        schedule = policy.schedules.for_cause(_FUNDS)
        if not isinstance(schedule, Likeliest):
            raise TypeError("the policy does not plan missing funds by a belief (`likeliest`)")
        self.policy, self.schedule = policy, schedule
        self._unseen = Brain("unseen", policy)

    @property
    def price(self) -> float:
        """Of an attempt, in payments."""
        return self.schedule.least_chance

    @property
    def gap(self) -> float:
        """The least seconds between two attempts."""
        return self.schedule.after_hours * HOUR

    def unseen(self, name: str, worlds: Sequence[Small]) -> Reached:
        """Before it has seen anything."""
        plays = [[_played(self._unseen, each, law) for law in each.laws] for each in worlds]
        return reached(name, None, worlds, plays)

    def learned(self, name: str, worlds: Sequence[Small], timings: Sequence[Timing]) -> Reached:
        """With what it has learned of each world."""
        plays = []
        for each, timing in zip(worlds, timings, strict=True):
            brain = Brain("learned", as_learned(self.policy), timing)
            plays.append([_played(brain, each, law) for law in each.laws])
        return reached(name, None, worlds, plays)

    def lessons(self, worlds: Sequence[Small], failures: int) -> Iterator[Timing]:
        """What it has learned of each world after so many failures."""
        return (learn(self.policy, failures, each.seed, each.world).first.timing for each in worlds)

    def weights(self, country: str, timing: Timing = BY_THE_RULES) -> Weights:
        """What it believes after a decline for missing funds."""
        learned = timing.learned
        belief = prior(country) if learned is None else learned.doubted(Traits(country), PLANS)
        return belief.weights(_FUNDS, self.schedule.wages, credit=False)


def _played(brain: Brain, world: Small, law: Law) -> Schedule:
    """The mean over the minutes by which attempts are spread."""
    plays = [law.played([step.at for step in brain.plan(world.kind(law, n)).attempts]) for n in range(SPREADS)]
    collected, attempts = _mean([each.collected for each in plays]), _mean([each.attempts for each in plays])
    return Schedule(plays[0].at, collected, attempts, 1.0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
