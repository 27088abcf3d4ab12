"""Customers whose payments have failed before: who they are, what strategies know of them, and what that is worth."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from console.evaluation.again import AT_MOST, MONTHS, ComingAgain, months_before, population_of
from console.evaluation.clairvoyant import Clairvoyant
from console.evaluation.on_record import outcome_of
from console.evaluation.play import NOBODY, play
from console.evaluation.population import Failure, Fate, Population
from console.evaluation.remembering import Remembering
from console.evaluation.simulate import simulate
from console.evaluation.strategies import Brain, common_ladders
from console.evaluation.worlds import World, as_made, read_world, shipped
from console.evaluation.worlds.prior import random_world
from services.worker.recovery import DeclineCause, Policy

DEFAULT = Policy.default()
BY_RULES = DEFAULT.model_copy(update={"timing": "rules"})


def again(world: World, share: float = 1.0) -> World:
    return world.model_copy(update={"renewals": world.renewals.model_copy(update={"again": share})})


def some(world: World, count: int, seed: int = 1) -> list[Failure]:
    return list(islice(population_of(world, seed), count))


def everybody_paid_on_the_22nd() -> World:
    """A world in which an invoice can be paid on one day of the month, and banks and customers do nothing else."""
    code: dict[str, Any] = {"code": "insufficient_funds", "share": 1, "clears": 1, "approves": 1, "responds": 0}
    monthly = {"share": 1, "on": {"rhythm": "days_of_month", "days": [22]}, "not_on_business_days": "before"}
    return read_world(
        {
            "name": "own",
            "about": "a test",
            "renewals": {"again": 1, "countries": [{"code": "DE", "currency": "eur", "share": 1}]},
            "causes": {"source": "assumed", "codes": [code | {"ways": [{"by": "wages"}]}]},
            "wages": {"sets": [{"source": "assumed", "groups": [monthly]}]},
            "funds": {"kind": "stay", "source": "assumed", "days": 2},
            "alone": {"source": "assumed", "share": 0},
        }
    )


@pytest.mark.parametrize(
    "world", [as_made(), shipped("stricter_at_night"), random_world(3)], ids=lambda each: each.name
)
def test_who_comes_again_is_drawn_beside_the_world_which_stays_as_it_was(world: World) -> None:
    plain = list(islice(Population(again(world, 0), 5), 300))
    assert some(again(world, 0), 300, seed=5) == plain
    assert [replace(each, earlier=()) for each in some(again(world, 0.4), 300, seed=5)] == plain
    coming = [bool(each.earlier) for each in some(again(world, 0.4), 1_000, seed=5)]
    assert 0.35 < sum(coming) / len(coming) < 0.45


def test_an_earlier_failure_is_of_the_same_day_of_a_month_before_with_the_same_card() -> None:
    found = some(again(as_made()), 400)
    for failure in found:
        assert 1 <= len(failure.earlier) <= AT_MOST
        times = [each.kind.opened_at for each in failure.earlier]
        assert times == sorted(set(times))
        opened = failure.kind.opened
        assert set(times) <= {months_before(opened, number).timestamp() for number in range(1, MONTHS + 1)}
        for each in failure.earlier:
            kept = {
                name: getattr(failure.kind, name) for name in ("country", "network", "funding", "currency", "amount")
            }
            assert {name: getattr(each.kind, name) for name in kept} == kept
    same = [each.kind.code == failure.kind.code for failure in found for each in failure.earlier]
    assert 0.4 < sum(same) / len(same) < 0.8
    clear = {each.code for each in as_made().causes.codes if each.clears}
    assert {each.kind.code for failure in found for each in failure.earlier} == clear


def test_a_month_without_that_day_has_its_last() -> None:
    at = datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert [months_before(at, number).date().isoformat() for number in (1, 2, 11)] == [
        "2025-12-31",
        "2025-11-30",
        "2025-02-28",
    ]


def test_the_payday_is_the_customers() -> None:
    groups = [{"share": 1 / 28, "on": {"rhythm": "days_of_month", "days": [day]}, "hour": 12} for day in range(1, 29)]
    world = everybody_paid_on_the_22nd().model_dump(mode="json")
    found = some(read_world(world | {"wages": {"sets": [{"source": "assumed", "groups": groups}]}}), 200)
    paid = [{datetime.fromtimestamp(each.fate.spans[0][0], UTC).day for each in (one, *one.earlier)} for one in found]
    assert all(len(days) == 1 for days in paid)
    assert len({day for days in paid for day in days}) > 20


def test_the_bank_is_the_customers() -> None:
    found = [
        (failure.fate.bank, each.fate.bank)
        for failure in some(again(shipped("office_hours_banks")), 300)
        for each in failure.earlier
        if failure.fate.spans and each.fate.spans
    ]
    assert all(one is other for one, other in found)
    assert {one is None for one, _ in found} == {True, False}


def test_a_strategy_knows_of_earlier_failures_what_its_own_attempts_have_shown_and_only_those_that_ended() -> None:
    failure = next(each for each in some(everybody_paid_on_the_22nd(), 50) if len(each.earlier) == AT_MOST)
    brain = Remembering("ours", DEFAULT)
    for each in failure.earlier:
        fate, plan = play(brain, each), brain.plan(each.kind)
        outcome = outcome_of(brain, each, failure.kind.opened_at)
        assert outcome is not None
        assert outcome.cause is DeclineCause.INSUFFICIENT_FUNDS
        made = [step.at for step, _ in zip(plan.attempts, range(fate.attempts), strict=False)]
        tried = [*outcome.declined[1:], *([outcome.accepted_at] if outcome.accepted_at else [])]
        assert [at.timestamp() for at in tried] == made
        assert (outcome.accepted_at is not None) is (fate.by != NOBODY)
        ended = min(fate.paid_at, plan.ends)
        assert outcome_of(brain, each, ended - 1) is None
    nothing = replace(failure.earlier[0], fate=Fate((), 0), alone_at=failure.earlier[0].kind.opened_at + 60)
    assert outcome_of(brain, nothing, failure.kind.opened_at) is None, "the customer paid before any attempt"


def test_the_brain_that_remembers_plans_by_them_and_all_others_do_not() -> None:
    failure = next(
        each
        for each in some(everybody_paid_on_the_22nd(), 200)
        if len(each.earlier) == AT_MOST and each.kind.opened.day in range(8, 12)
    )
    plain, ours = Brain("plain", DEFAULT), Remembering("ours", DEFAULT)
    chances = {}
    for brain in (plain, ours):
        steps = list(brain.plan_of(failure).attempts)
        best = max(steps, key=lambda step: step.chance or 0)
        chances[brain.name] = datetime.fromtimestamp(best.at, UTC).day, best.chance
    assert chances["ours"][0] in (22, 23)
    assert chances["plain"][0] not in (22, 23)
    assert (chances["ours"][1] or 0) > (chances["plain"][1] or 0)
    assert ours.plan_of(failure) is ours.plan_of(failure)
    unknown = replace(failure, earlier=())
    for other in (plain, Remembering("rules", BY_RULES), *common_ladders(DEFAULT)):
        assert other.plan_of(failure) is other.plan(failure.kind)
    assert ours.plan_of(unknown) is ours.plan(failure.kind)


def test_ladders_and_the_clairvoyant_are_untouched_and_nobody_is_above_it() -> None:
    clairvoyant = Clairvoyant(DEFAULT)
    strategies = [Remembering("ours", DEFAULT), *common_ladders(DEFAULT)]
    found = [
        simulate(strategies, failures=300, seed=2, world=again(shipped("own_paydays"), share), clairvoyant=clairvoyant)
        for share in (0.0, 1.0)
    ]
    for name in (*(each.name for each in strategies[1:]), clairvoyant.name):
        assert found[0].tallies[name] == found[1].tallies[name]
    ours = found[1].tallies["ours"]
    assert (ours.breaches, ours.beyond) == (0, 0)
    assert ours != found[0].tallies["ours"]


@pytest.mark.parametrize(("name", "least"), [("own_paydays", 2), ("no_pattern_again", -1)])
def test_where_paydays_persist_it_pays_and_where_they_do_not_it_does_no_harm(name: str, least: int) -> None:
    """How many of 700 failures more are paid; what chance alone can do here is about one."""
    world = again(shipped(name))
    strategies = [Remembering("ours", DEFAULT), Brain("plain", DEFAULT)]
    found = simulate(strategies, failures=700, seed=21, world=world)
    ours, plain = (found.tallies[each.name] for each in strategies)
    assert ours.paid - plain.paid >= least
    assert ours.attempts < plain.attempts


def test_a_world_in_which_nothing_ever_clears_has_nobody_who_comes_again() -> None:
    codes = [each.model_copy(update={"clears": 0.0}) for each in as_made().causes.codes]
    world = again(as_made().model_copy(update={"causes": as_made().causes.model_copy(update={"codes": tuple(codes)})}))
    assert not any(each.earlier for each in islice(ComingAgain(world, 1), 50))
