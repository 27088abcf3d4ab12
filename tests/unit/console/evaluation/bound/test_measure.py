"""Who knows more collects more, nobody exceeds a bound, and our planner's choices beside the best for its stories."""

from itertools import pairwise

import pytest

from console.evaluation.bound.measure import GENERATOR, WORLD, at_most, measure
from console.evaluation.bound.planner import choose
from console.evaluation.bound.small import COUNTRY, small_worlds
from console.evaluation.bound.strategies import (
    InWorld,
    Known,
    Mixture,
    Planner,
    Reached,
    Small,
    everywhere,
    sure_everywhere,
)
from services.worker.recovery import Delays, Policy

POLICY = Policy.default()
PRICES = (0.03, 0.01, 0.001, 0.0)


@pytest.fixture(scope="module")
def worlds() -> list[Small]:
    return [Small.of(seed, world, POLICY) for seed, world in small_worlds(20, 12)]


def worth(row: Reached, price: float) -> float:
    return row.of_possible - price * row.a_payment


@pytest.mark.parametrize("price", PRICES)
def test_who_knows_the_world_has_more_than_who_knows_the_generator_and_less_than_all(
    worlds: list[Small], price: float
) -> None:
    generator = everywhere("generator", price, worlds, Mixture(worlds, POLICY).best(price))
    known = Known(worlds, POLICY).best("world", price)
    assert worth(generator, price) <= worth(known, price) + 1e-9
    assert known.of_possible <= 1 + 1e-9
    for one, other in zip(generator.worlds, known.worlds, strict=True):
        assert (
            one.of_possible - price * one.attempts / one.possible
            <= other.of_possible - price * other.attempts / other.possible + 1e-9
        )


@pytest.mark.parametrize("price", PRICES)
def test_no_one_schedule_for_all_worlds_is_worth_more_than_the_bound(worlds: list[Small], price: float) -> None:
    mixture = Mixture(worlds, POLICY)
    most = worth(everywhere("", price, worlds, mixture.best(price)), price)
    others = [
        everywhere("", price, worlds, mixture.best(other, gap)) for other in (0.05, 0.005) for gap in (0.0, 16 * 3600.0)
    ]
    others += [everywhere("", price, worlds, mixture.greedy(0.01, 0.0)), Planner(POLICY).unseen("", worlds)]
    assert all(worth(each, price) <= most + 1e-9 for each in others)


def test_the_price_makes_a_curve_that_rises_with_the_attempts(worlds: list[Small]) -> None:
    mixture, known = Mixture(worlds, POLICY), Known(worlds, POLICY)
    for rows in (
        [everywhere("", price, worlds, mixture.best(price)) for price in PRICES],
        [known.best("", price) for price in PRICES],
    ):
        assert all(a.of_possible <= b.of_possible + 1e-9 for a, b in pairwise(rows))
        assert all(a.a_payment <= b.a_payment + 1e-9 for a, b in pairwise(rows))


def test_in_the_worst_world_nobody_is_surer_than_the_bound(worlds: list[Small]) -> None:
    sure = sure_everywhere(worlds, POLICY, rounds=4)
    mixture = Mixture(worlds, POLICY)
    rows = [everywhere("", price, worlds, mixture.best(price)) for price in PRICES]
    assert max(each.worst for each in (*rows, Planner(POLICY).unseen("", worlds))) <= sure <= rows[-1].of_possible
    assert sure_everywhere(worlds, POLICY, rounds=8) <= sure


def test_worlds_in_which_little_is_possible_count_as_much_as_others(worlds: list[Small]) -> None:
    row = Planner(POLICY).unseen("", worlds)
    assert row.of_possible == pytest.approx(sum(each.of_possible for each in row.worlds) / len(worlds))


def test_a_bound_at_some_attempts_is_the_least_over_the_prices() -> None:
    ours = Reached("ours", None, [InWorld(0.5, 2.0, 0.5), InWorld(0.7, 2.0, 1.0)])
    assert ours.a_payment == pytest.approx(3.0)
    assert at_most([(0.1, 0.4), (0.01, 0.8)], ours) == pytest.approx(0.7)
    assert at_most([(0.0, 1.2)], ours) == 1.0


def test_the_planner_chooses_for_its_stories_nearly_as_well_as_can_be(worlds: list[Small]) -> None:
    planner = Planner(POLICY)
    for law in worlds[0].laws:
        found = choose(planner.weights(COUNTRY), COUNTRY, law, POLICY, planner.schedule)
        assert 0.95 < found.of_best <= 1 + 1e-9
        assert 0.5 < found.of_all <= 1
        assert 0.5 < found.single < 1


def test_a_policy_that_does_not_plan_by_belief_is_refused() -> None:
    schedules = POLICY.schedules.model_copy(update={"insufficient_funds": Delays(hours=(24,))})
    with pytest.raises(TypeError, match="likeliest"):
        Planner(POLICY.model_copy(update={"schedules": schedules}))


def test_all_is_measured_in_the_same_worlds() -> None:
    found = measure(30, 4, 1, 60, (0.01, 0.0))
    assert found.learned is not None
    assert found.learned_choices is not None
    assert [each.seed for each in found.learned.worlds] == [each.seed for each in found.unseen.worlds][:1]
    for compared in (found.unseen, found.learned):
        assert compared.planner.of_possible <= compared.at_most
        assert compared.planner.worst <= compared.sure
        assert all(len(row.worlds) == len(compared.worlds) for row in (compared.planner, *compared.rows))
    assert {row.name for row in found.unseen.rows} > {GENERATOR}
    assert {row.name for row in found.learned.rows} > {WORLD}
    assert found.most == POLICY.max_attempts
