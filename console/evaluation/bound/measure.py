"""All who know different things in the same small worlds, and what follows for anybody with so many attempts.

If no schedule is worth more than v at a price p for an attempt, then nobody who makes a attempts collects more than
v + p * a. So the least of these over several prices is a bound for our planner at its own attempts: for it unseen by
the best schedule for all worlds at once, for it after learning by the best one of each world.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from console.evaluation.bound.planner import Choice, choose
from console.evaluation.bound.small import COUNTRY, small_worlds
from console.evaluation.bound.strategies import Known, Mixture, Planner, Reached, Small, everywhere, sure_everywhere
from console.evaluation.worlds import World
from console.evaluation.worlds.prior import DESIGN
from services.worker.recovery import BY_THE_RULES, Policy, Timing

GENERATOR, ELSEWHERE, WORLD = "knows the generator", "the same, from other worlds", "knows the world"
APART, ONE_BY_ONE = "our planner's gap", "chosen one by one"
UNSEEN = "our planner, unseen"


@dataclass(frozen=True, slots=True)
class Compared:
    """Strategies in the same worlds. At our planner's own attempts nobody has a larger mean share than `at_most`; the
    share that anybody has in each of the worlds is `sure` at most."""

    worlds: Sequence[Small]
    rows: Sequence[Reached]
    planner: Reached
    at_most: float
    sure: float


@dataclass(frozen=True, slots=True)
class Choices:
    """The planner's choices for what it believes, beside the best: means over days of failures and beliefs."""

    of_best: float
    worst: float
    single: float
    of_all: float

    @classmethod
    def of(cls, choices: Sequence[Choice]) -> "Choices":
        """Of several. Raises ValueError without any."""
        return cls(
            _mean([each.of_best for each in choices]),
            min(each.of_best for each in choices),
            _mean([each.single for each in choices]),
            _mean([each.of_all for each in choices]),
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """What was measured. `learned`, `learned_choices`: None where nothing was learned. most: attempts that the policy
    allows."""

    most: int
    unseen: Compared
    unseen_choices: Choices
    failures: int
    learned: Compared | None
    learned_choices: Choices | None


def measure(first: int, count: int, learned_in: int, failures: int, prices: Sequence[float]) -> Bounds:
    """In so many small worlds from the seed `first` on; our planner learns from `failures` in the first `learned_in`.

    Raises ValueError when there are not so many worlds.
    """
    planner = Planner(Policy.default())
    worlds = [Small.of(seed, world, planner.policy) for seed, world in small_worlds(first, count)]
    others = [Small.of(seed, world, planner.policy) for seed, world in _others(worlds)]
    unseen = _unseen(planner, worlds, others, prices)
    choices = _choices(planner, worlds[:1], [BY_THE_RULES])
    if not (learned_in and failures):
        return Bounds(planner.policy.max_attempts, unseen, choices, failures, None, None)
    some = worlds[:learned_in]
    timings = list(planner.lessons(some, failures))
    learned = _learned(planner, some, timings, failures, prices)
    return Bounds(planner.policy.max_attempts, unseen, choices, failures, learned, _choices(planner, some, timings))


def _unseen(planner: Planner, worlds: Sequence[Small], others: Sequence[Small], prices: Sequence[float]) -> Compared:
    own = planner.unseen(UNSEEN, worlds)
    mixture, rows, worths = Mixture(worlds, planner.policy), [], []
    elsewhere = Mixture(others, planner.policy) if others else None
    for price in prices:
        found = everywhere(GENERATOR, price, worlds, mixture.best(price))
        worths.append((price, _worth(found)))
        rows.append(found)
    if elsewhere is not None:
        rows += [everywhere(ELSEWHERE, price, worlds, elsewhere.best(price)) for price in prices]
    rows += [
        everywhere(f"{GENERATOR}, {APART}", planner.price, worlds, mixture.best(planner.price, planner.gap)),
        everywhere(f"{GENERATOR}, {ONE_BY_ONE}", planner.price, worlds, mixture.greedy(planner.price, planner.gap)),
    ]
    return Compared(worlds, rows, own, at_most(worths, own), sure_everywhere(worlds, planner.policy))


def _learned(
    planner: Planner, worlds: Sequence[Small], timings: Sequence[Timing], failures: int, prices: Sequence[float]
) -> Compared:
    own = planner.learned(f"our planner after {failures:,}", worlds, timings)
    known = Known(worlds, planner.policy)
    rows = [known.best(WORLD, price) for price in prices]
    worths = [(price, _worth(row)) for price, row in zip(prices, rows, strict=True)]
    rows += [
        known.best(f"{WORLD}, {APART}", planner.price, planner.gap),
        known.greedy(f"{WORLD}, {ONE_BY_ONE}", planner.price, planner.gap),
    ]
    sure = known.best(WORLD, 0.0).worst
    return Compared(worlds, [planner.unseen(UNSEEN, worlds), *rows], own, at_most(worths, own), sure)


def at_most(worths: Iterable[tuple[float, float]], of: Reached) -> float:
    """The largest mean share for anybody with as many attempts, by what the best is worth at each price."""
    return min([1.0, *(worth + price * of.a_payment for price, worth in worths)])


def _worth(row: Reached) -> float:
    return row.of_possible - (row.price or 0.0) * row.a_payment


def _others(worlds: Sequence[Small]) -> Sequence[tuple[int, World]]:
    """As many worlds again, of the seeds after these or from the first on; none where there are too few."""
    used = {each.seed for each in worlds}
    after = max(used) + 1
    for first in (after, DESIGN.start):
        try:
            found = small_worlds(first, len(worlds))
        except ValueError:
            continue
        if not used & {seed for seed, _ in found}:
            return found
    return []


def _choices(planner: Planner, worlds: Sequence[Small], timings: Sequence[Timing]) -> Choices:
    return Choices.of(
        [
            choose(planner.weights(COUNTRY, timing), COUNTRY, law, planner.policy, planner.schedule)
            for world, timing in zip(worlds, timings, strict=True)
            for law in world.laws
        ]
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
