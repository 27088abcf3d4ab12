"""The clairvoyant is the bound: attainable under the rules, and beaten by nobody who keeps them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import islice, pairwise
from random import Random

import pytest

from console.evaluation.clairvoyant import Clairvoyant
from console.evaluation.play import NOBODY, RETRY, play
from console.evaluation.population import NEVER, Failure, Fate, Population
from console.evaluation.simulate import simulate
from console.evaluation.strategies import Brain, Ladder, Strategy, common_ladders
from console.evaluation.worlds import World, as_made, shipped, shipped_names
from console.evaluation.worlds.prior import DESIGN, random_world
from services.worker.recovery import Policy
from services.worker.recovery.attempt_times import next_open
from shared.policy import AttemptTimes

DEFAULT = Policy.default()
HURRIED = DEFAULT.model_copy(
    update={"minimum_gap_hours": 5, "window_days": 9, "max_attempts": 3, "message_days": (0, 2)}
)
BY_DAY = DEFAULT.model_copy(
    update={"attempt_times": AttemptTimes(quiet_from=20, quiet_until=9, weekdays=("monday", "wednesday", "friday"))}
)


def failures(world: World, count: int, seed: int = 3) -> list[Failure]:
    return list(islice(Population(world, seed), count))


def at_random(policy: Policy, seed: int) -> Strategy:
    """A ladder with gaps by chance that keeps the policy's gap, window and number of attempts."""
    draw = Random(seed)  # noqa: S311 - a test has to be repeatable
    least = policy.minimum_gap_hours
    gaps: list[timedelta] = []
    while len(gaps) < policy.max_attempts:
        gaps.append(timedelta(hours=least + draw.expovariate(1 / draw.choice([3, 30, 100]))))
    while sum(gaps, timedelta()) >= timedelta(days=policy.window_days):
        gaps.pop()
    return Ladder(f"at random {seed}", gaps, policy, obeys_hard=True)


@pytest.mark.parametrize("number", [*range(0, 40, 2), *range(500, 508)])
@pytest.mark.parametrize("policy", [DEFAULT, HURRIED], ids=["default", "hurried"])
def test_nobody_who_keeps_the_rules_has_a_failure_paid_that_it_has_not(number: int, policy: Policy) -> None:
    assert number in DESIGN
    clairvoyant = Clairvoyant(policy)
    ours = [Brain("rules", policy)]
    others = [*common_ladders(policy), *(at_random(policy, seed) for seed in range(3))]
    for failure in failures(random_world(number), 250):
        possible = clairvoyant.play(failure)
        ends = failure.kind.opened_at + policy.window_days * 86_400
        for strategy in [*ours, *others]:
            fate = play(strategy, failure)
            if fate.by == NOBODY:
                continue
            keeps = fate.by != RETRY or (
                fate.breaches == 0
                and fate.paid_at < ends
                and (strategy in ours or fate.attempts <= policy.max_attempts)
            )
            if keeps:
                assert possible.by != NOBODY, (strategy.name, failure)
                assert possible.paid_at <= fate.paid_at


@pytest.mark.parametrize("name", shipped_names())
def test_no_brain_beats_it_in_a_shipped_world(name: str) -> None:
    result = simulate(
        [Brain("rules", DEFAULT)], failures=400, seed=5, world=shipped(name), clairvoyant=Clairvoyant(DEFAULT)
    )
    assert result.tallies["rules"].beyond == 0
    assert result.tallies["rules"].paid <= result.tallies["clairvoyant"].paid


@pytest.mark.parametrize("policy", [DEFAULT, HURRIED, BY_DAY], ids=["default", "hurried", "by day"])
@pytest.mark.parametrize("world", [as_made, lambda: shipped("velocity"), lambda: random_world(11)])
def test_what_it_has_paid_its_attempts_would_have(policy: Policy, world: Callable[[], World]) -> None:
    """Its attempts are made anew: as early as the rules allow, and the last one when it says."""
    clairvoyant, found = Clairvoyant(policy), 0
    for failure in failures(world(), 400):
        fate = clairvoyant.play(failure)
        if fate.by != RETRY or fate.paid_at == failure.fate.updated_at:
            continue
        opened, gap = failure.kind.opened_at, policy.minimum_gap_hours * 3600
        planned = [step.at for step in clairvoyant.earliest(failure.kind)][: fate.attempts - 1]
        made = [opened, *planned, fate.paid_at]
        assert all(later - earlier >= gap - 1e-3 for earlier, later in pairwise(made))
        assert fate.attempts <= policy.max_attempts
        assert fate.paid_at < opened + policy.window_days * 86_400
        answers = [failure.approves(at, number, made[: number + 1]) for number, at in enumerate(made[1:])]
        assert answers == [False] * (fate.attempts - 1) + [True]
        for at in made[1:]:
            moment = failure.kind.opened + timedelta(seconds=at - opened)
            assert abs(next_open(policy.attempt_times, moment, failure.kind.country) - moment) < timedelta(seconds=1)
        found += 1
    assert found > 50


def test_it_pays_as_soon_as_anything_clears() -> None:
    for failure in failures(as_made(), 500):
        fate = Clairvoyant(DEFAULT).play(failure)
        if fate.by == RETRY and fate.attempts == 1:
            earliest = failure.kind.opened_at + 3600
            assert fate.paid_at == min(max(begins, earliest) for begins, ends in failure.fate.spans if ends > earliest)


def test_after_a_hard_decline_it_only_writes() -> None:
    for failure in failures(as_made(), 600):
        if failure.kind.code in {"lost_card", "fraudulent", "authentication_required"}:
            assert Clairvoyant(DEFAULT).play(failure).attempts == 0


def test_who_leaves_retries_to_stripe_has_none_to_know_better_about() -> None:
    left = Clairvoyant(DEFAULT.model_copy(update={"driver": "stripe"}))
    assert {left.play(each).attempts for each in failures(as_made(), 200) if each.fate.updated_at == NEVER} == {0}


def test_a_ladder_after_the_window_is_counted_as_beyond() -> None:
    world = shipped("no_pattern")
    result = simulate(common_ladders(DEFAULT), failures=1_500, seed=2, world=world, clairvoyant=Clairvoyant(DEFAULT))
    assert result.tallies["stripe 8 in 14 days"].beyond == 0
    assert result.tallies["kill bill 8-8-8"].beyond > 0
    assert result.tallies["clairvoyant"].beyond == 0


def test_a_renewed_card_gives_it_one_attempt_more() -> None:
    """As it does to the brain, which has used up its attempts in vain by then."""
    eager = Policy.model_validate(
        {"schedules": {"do_not_honor": {"kind": "delays", "hours": [24]}}, "message_days": [], "max_attempts": 8}
    )
    declined = next(each for each in failures(as_made(), 400) if each.kind.code == "do_not_honor")
    at = declined.kind.opened_at + 15 * 86_400
    renewed = replace(
        declined,
        fate=Fate(((at, NEVER),), 0.9, updated_at=at),
        draws=(0.99,) * 9 + (0.0,) * 3,
        answers=(NEVER,) * 8,
        alone_at=NEVER,
    )
    by_brain, possible = play(Brain("eager", eager), renewed), Clairvoyant(eager).play(renewed)
    assert (by_brain.by, by_brain.attempts, by_brain.paid_at) == (RETRY, 9, at)
    assert (possible.by, possible.attempts, possible.paid_at) == (RETRY, 9, at)
