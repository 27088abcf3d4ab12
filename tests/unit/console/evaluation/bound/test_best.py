"""The best attempts by dynamic programming, against every list of times of small instances."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.evaluation.bound.best import Gains, best, bound, greedy

PARTS = 3


@dataclass(frozen=True)
class Customer:
    """One with money from the time `begins` to the time `ends` (not at it), whose bank is closed in one part."""

    begins: int
    ends: int
    closed: int
    weight: float

    def accepts(self, time: int, part: Sequence[int]) -> bool:
        return self.begins <= time < self.ends and part[time] != self.closed


@dataclass(frozen=True)
class Instance:
    at: tuple[float, ...]
    part: tuple[int, ...]
    customers: tuple[Customer, ...]

    @property
    def whole(self) -> float:
        return sum(each.weight for each in self.customers)

    @property
    def gains(self) -> Gains:
        count = len(self.at)
        beginning = np.zeros((PARTS + 1, count, count))
        for each in self.customers:
            beginning[each.closed, each.begins, each.begins : each.ends] += each.weight
        return Gains.of(np.array(self.at), np.array(self.part), beginning, self.whole)

    def played(self, chosen: Sequence[int]) -> tuple[float, float]:
        """What is collected, and how many attempts are made, customer by customer."""
        collected = attempts = 0.0
        for each in self.customers:
            made = next((n for n, time in enumerate(chosen) if each.accepts(time, self.part)), None)
            collected += 0 if made is None else each.weight
            attempts += each.weight * (len(chosen) if made is None else made + 1)
        return collected, attempts

    def worth(self, chosen: Sequence[int], price: float) -> float:
        collected, attempts = self.played(chosen)
        return collected - price * attempts

    def lists(self, most: int, gap: float) -> list[tuple[int, ...]]:
        places = range(len(self.at))
        return [
            each
            for number in range(most + 1)
            for each in combinations(places, number)
            if all(self.at[b] - self.at[a] >= gap for a, b in pairwise(each))
        ]


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    count = draw(st.integers(1, 7))
    gaps = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    part = draw(st.lists(st.integers(0, PARTS - 1), min_size=count, max_size=count))
    customer = st.builds(
        lambda begins, length, closed, weight: Customer(begins, begins + length, closed, weight),
        begins=st.integers(0, count - 1),
        length=st.integers(0, 3),
        closed=st.integers(0, PARTS),
        weight=st.sampled_from([0.5, 1.0, 2.0, 3.5]),
    )
    customers = draw(st.lists(customer, min_size=draw(st.integers(0, 8)), max_size=8))
    return Instance(tuple(float(sum(gaps[: n + 1])) for n in range(count)), tuple(part), tuple(customers))


def drawn(seed: int) -> tuple[Instance, float, int, float]:
    """An instance in which several attempts are worth their price, as a rule; price, most and gap."""
    random = Random(seed)  # noqa: S311 - instances have to be repeatable
    count = random.randint(5, 8)
    customers = []
    for _ in range(random.randint(6, 12)):
        begins, closed = random.randrange(count), random.choice([*range(PARTS), PARTS, PARTS])
        customers.append(Customer(begins, begins + random.randint(1, 3), closed, random.uniform(0.2, 2)))
    at = tuple(float(2 * place + random.randint(0, 1)) for place in range(count))
    part = tuple(random.randrange(PARTS) for _ in range(count))
    return Instance(at, part, tuple(customers)), random.choice([0.01, 0.05, 0.1, 0.15]), 4, random.choice([0.0, 3.0])


PRICES = st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.3, 1.0])


@settings(max_examples=150, deadline=None)
@given(instances(), PRICES, st.integers(1, 4), st.sampled_from([0.0, 2.0, 4.0, 7.0]))
def test_no_list_of_times_is_worth_more(instance: Instance, price: float, most: int, gap: float) -> None:
    hold_against_all(instance, price, most, gap)


def test_no_list_of_times_is_worth_more_where_several_attempts_are() -> None:
    numbers = [hold_against_all(*drawn(seed)) for seed in range(150)]
    assert sum(number >= 3 for number in numbers) > 75


def hold_against_all(instance: Instance, price: float, most: int, gap: float) -> int:
    """The best schedule is the best of all lists; how many attempts it has."""
    found = best(instance.gains, price, most, gap)
    exact = max(instance.worth(each, price) for each in instance.lists(most, gap))
    assert found.worth(price) == pytest.approx(exact)
    assert bound(instance.gains, price, most, gap) == pytest.approx(exact)
    chosen = [instance.at.index(at) for at in found.at]
    assert tuple(chosen) in instance.lists(most, gap)
    assert (found.collected, found.attempts) == pytest.approx(instance.played(chosen))
    return len(chosen)


@settings(max_examples=80, deadline=None)
@given(instances(), PRICES, st.integers(1, 4))
def test_only_changes_are_worth_an_attempt(instance: Instance, price: float, most: int) -> None:
    gains = instance.gains
    assert best(gains.only(gains.changes), price, most).worth(price) == pytest.approx(
        best(gains, price, most).worth(price)
    )


@settings(max_examples=80, deadline=None)
@given(instances(), st.integers(1, 4), st.sampled_from([0.0, 3.0]))
def test_a_higher_price_and_fewer_attempts_never_help(instance: Instance, most: int, gap: float) -> None:
    gains = instance.gains
    schedules = [best(gains, price, most, gap) for price in (0.0, 0.01, 0.1, 0.5)]
    for price, cheap, dear in zip((0.01, 0.1, 0.5), schedules, schedules[1:], strict=False):
        assert cheap.collected >= dear.collected - 1e-9
        assert cheap.attempts >= dear.attempts - 1e-9 or cheap.collected == pytest.approx(dear.collected)
        assert best(gains, price, most + 1, gap).worth(price) >= dear.worth(price) - 1e-9
        assert best(gains, price, most, gap + 3).worth(price) <= dear.worth(price) + 1e-9


@settings(max_examples=80, deadline=None)
@given(instances(), PRICES, st.integers(1, 4), st.sampled_from([0.0, 3.0]))
def test_one_by_one_is_never_better_than_the_best(instance: Instance, price: float, most: int, gap: float) -> None:
    gains = instance.gains
    found = greedy(gains, price, most, gap)
    chosen = [instance.at.index(at) for at in found.at]
    assert tuple(chosen) in instance.lists(most, gap)
    assert found.worth(price) <= best(gains, price, most, gap).worth(price) + 1e-9
    assert (found.collected, found.attempts) == pytest.approx(instance.played(chosen))


def test_a_collection_saves_the_attempts_after_it() -> None:
    # At 0.55 of a payment neither is worth an attempt alone; both are, because the second is made for half of all.
    early, late = Customer(0, 1, PARTS, 0.5), Customer(1, 2, PARTS, 0.35)
    instance = Instance((0.0, 1.0), (0, 0), (early, late, Customer(0, 0, PARTS, 0.15)))
    assert max(instance.worth((0,), 0.55), instance.worth((1,), 0.55)) < 0 < instance.worth((0, 1), 0.55)
    assert best(instance.gains, 0.55, 2).at == (0.0, 1.0)


def test_one_by_one_may_miss_the_best() -> None:
    # The middle time reaches most, and then neither side is worth an attempt; two others reach all.
    sides = [Customer(0, 2, PARTS, 0.3), Customer(2, 3, PARTS, 0.2), Customer(0, 1, PARTS, 0.2)]
    instance = Instance((0.0, 1.0, 2.0), (0, 0, 0), (*sides, Customer(1, 3, PARTS, 0.3)))
    found, exact = greedy(instance.gains, 0.0, 2), best(instance.gains, 0.0, 2)
    assert found.collected == pytest.approx(0.8)
    assert exact.collected == pytest.approx(1.0)


def test_without_customers_nothing_is_tried() -> None:
    nobody = Instance((0.0, 1.0), (0, 1), ())
    assert best(nobody.gains, 0.0, 3).at == ()
    assert greedy(nobody.gains, 0.01, 3).at == ()
