"""The law of a small world's customers, against what `Population` draws of them; and small worlds themselves."""

from collections.abc import Sequence
from itertools import islice
from math import sqrt

import pytest

from console.evaluation.bound.law import GRID, PARTS, Law, NotSmallError, laws_of, part_at
from console.evaluation.bound.small import COUNTRY, small_world, small_worlds
from console.evaluation.bound.strategies import Planner, Small
from console.evaluation.clairvoyant import CLAIRVOYANT, Clairvoyant
from console.evaluation.population import DAY, Failure, Population
from console.evaluation.simulate import simulate
from console.evaluation.strategies import Brain
from console.evaluation.worlds import World, as_made, read_world
from console.evaluation.worlds.prior import DESIGN
from services.worker.recovery import Policy
from services.worker.recovery.belief.planning import HOURS

POLICY = Policy.default()
FAILURES = 4_000
# With closed banks and money that stays; a balance; noise, shifts and several groups of banks.
SEEDS = (0, 7, 2, 13)


def small(seed: int) -> Small:
    world = small_world(seed)
    assert world is not None
    return Small.of(seed, world, POLICY)


def near(share: float, expected: float) -> bool:
    """Within four standard errors of a sample."""
    return abs(share - expected) <= 4 * sqrt(max(expected * (1 - expected), 1e-4) / FAILURES)


@pytest.mark.parametrize("seed", SEEDS)
def test_our_planner_and_the_clairvoyant_have_what_they_have_in_a_simulation(seed: int) -> None:
    own = small(seed)
    brain = Brain("ours", POLICY)
    played = simulate([brain], failures=FAILURES, seed=5, world=own.world, clairvoyant=Clairvoyant(POLICY))
    found = Planner(POLICY).unseen("ours", [own])
    assert near(played.tallies[CLAIRVOYANT].share, own.possible)
    assert near(played.tallies["ours"].share, found.of_possible * own.possible)
    assert played.tallies["ours"].attempts / FAILURES == pytest.approx(found.attempts, rel=0.04)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_times_collect_from_a_sample_what_they_do_by_the_law(seed: int) -> None:
    own = small(seed)
    # Days and hours that are on no grid.
    gaps = [1.3, 2.9, 4.05, 6.6, 9.2, 11.71, 15.0, 18.4, 20.9]
    by_law = [law.played([law.opened_at + gap * DAY for gap in gaps]) for law in own.laws]
    sample = list(islice(Population(own.world, 11), FAILURES))
    made = [attempts_of(each, [each.kind.opened_at + gap * DAY for gap in gaps]) for each in sample]
    assert {each.kind.opened_at for each in sample} == {law.opened_at for law in own.laws}
    paid = sum(paid for _, paid in made) / FAILURES
    assert near(paid, sum(each.collected for each in by_law) / len(by_law))
    attempts = sum(number for number, _ in made) / FAILURES
    assert attempts == pytest.approx(sum(each.attempts for each in by_law) / len(by_law), rel=0.04)


def attempts_of(failure: Failure, times: Sequence[float]) -> tuple[int, bool]:
    for number, at in enumerate(times):
        if failure.approves(at, number):
            return number + 1, True
    return len(times), False


@pytest.mark.parametrize("seed", SEEDS)
def test_on_the_grid_both_ways_to_count_agree(seed: int) -> None:
    for law in small(seed).laws:
        gains = law.gains()
        chosen = range(3, len(law.at), 11)
        played = law.played([law.at[place] for place in chosen])
        assert played.collected == pytest.approx(sum(gains.reached(list(chosen))))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_time_between_two_of_the_grid_reaches_anybody_whom_the_first_does_not(seed: int) -> None:
    law = small(seed).laws[1]
    for first, second in zip(law.at, law.at[1:], strict=False):
        between = first + 0.9 * (second - first)
        both, alone = law.played([first, between]).collected, law.played([first]).collected
        assert both == pytest.approx(alone)
        assert law.played([between]).collected <= alone + 1e-12


@pytest.mark.parametrize("seed", range(60))
def test_every_small_world_is_one_whose_law_is_known(seed: int) -> None:
    world = small_world(seed)
    if world is not None:
        laws = laws_of(world, POLICY.window_days, POLICY.minimum_gap_hours)
        assert len(laws) == 6
        assert all(0 <= law.possible <= world.causes.codes[0].clears + 1e-9 for law in laws)
        assert any(law.possible > 0 for law in laws)


def test_the_planner_looks_at_the_hours_of_the_grid() -> None:
    assert HOURS == GRID


def test_the_parts_of_the_day_are_all_of_it_and_begin_on_the_grid() -> None:
    assert [part_at(hour) for hour in (22, 0, 6, 7, 15, 16, 21)] == [0, 0, 0, 1, 1, 2, 2]
    assert {begins for begins, _ in PARTS} <= set(GRID)


def test_worlds_without_monthly_wages_are_left_out_and_the_next_ones_taken() -> None:
    found = small_worlds(0, 40)
    seeds = [seed for seed, _ in found]
    assert len(found) == 40
    assert seeds == sorted(set(seeds))
    assert all(small_world(seed) is None for seed in set(range(seeds[-1])) - set(seeds))


@pytest.mark.parametrize(("first", "count"), [(DESIGN.stop - 3, 10), (DESIGN.stop, 1), (-1, 1)])
def test_no_seed_is_used_that_is_not_there_to_design_by(first: int, count: int) -> None:
    with pytest.raises(ValueError, match="seeds are 0 to 999"):
        small_worlds(first, count)


def changed(**groups: object) -> World:
    world = small_world(0)
    assert world is not None
    return read_world(world.model_dump(mode="json") | groups)


def paid(**group: object) -> dict[str, object]:
    whole = {"share": 1, "on": {"rhythm": "days_of_month", "days": [15]}, "hour": 4} | group
    return {"sets": [{"source": "assumed", "groups": [whole]}]}


@pytest.mark.parametrize(
    ("world", "why"),
    [
        (as_made(), "several countries"),
        (changed(wages=paid(on={"rhythm": "weekly", "weekday": "friday"})), "twice in one window"),
        (changed(wages=paid(on={"rhythm": "irregular", "every_days": 9})), "at any time"),
        (changed(wages=paid(hour=5)), "which is none of the hours 1, 4"),
        (changed(wages=paid(noise={"share": 0.2, "days": 6})), "twice in one window"),
        (changed(alone={"source": "assumed", "share": 0.1}), "without an attempt"),
        (changed(drift=[{"since": "2026-01-10", "wages_days": 2}]), "it changes"),
        (
            changed(
                banks={
                    "source": "assumed",
                    "groups": [{"share": 0.5, "closed": [{"from_hour": 3, "until_hour": 9}]}],
                }
            ),
            "closed in other hours",
        ),
        (
            changed(
                banks={
                    "source": "assumed",
                    "groups": [{"share": 0.5, "closed": [{"from_hour": 22, "until_hour": 7, "chance": 0.5}]}],
                }
            ),
            "or by chance",
        ),
    ],
)
def test_a_world_for_which_it_would_not_be_exact_is_refused(world: World, why: str) -> None:
    with pytest.raises(NotSmallError, match=why):
        laws_of(world, POLICY.window_days, POLICY.minimum_gap_hours)


def test_a_law_knows_one_country() -> None:
    laws: Sequence[Law] = small(0).laws
    assert {str(law.zone) for law in laws} == {"Europe/London"}
    assert COUNTRY == "GB"
