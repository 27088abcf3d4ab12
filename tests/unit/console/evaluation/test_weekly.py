"""The brain that goes on learning: until the week in which a renewal fails, from others, and a few of them explore."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from console.evaluation import learning
from console.evaluation.again import population_of
from console.evaluation.learning import WEEKS, Lessons, as_learned, learn
from console.evaluation.on_record import OnRecord, outcome_until, past_of
from console.evaluation.population import DAY, DAYS, Failure, Kind, Population
from console.evaluation.remembering import Remembering
from console.evaluation.simulate import simulate
from console.evaluation.strategies import Brain, Plan, Strategy
from console.evaluation.weekly import BEGINS, WEEK, Weekly
from console.evaluation.worlds import World, as_made, shipped
from console.evaluation.worlds.validation import read_world
from services.worker.recovery import BY_THE_RULES, Likeliest, Policy, Schedules, Timing
from services.worker.recovery.belief import learning as beliefs
from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.groups import LARGE, REST, SMALL, Group, Trait
from services.worker.recovery.belief.learning import Outcome
from services.worker.recovery.belief.prior import prior
from services.worker.recovery.case import EXPLORED

POLICY = as_learned(Policy(schedules=Schedules(insufficient_funds=Likeliest())))
COMPARED_WEEKS = -(-DAYS // 7)
FAILURES = 150


def world_of(day: int, *, moves_by: int = 0) -> World:
    """Everybody is paid on this day of the month; it moves on the first compared day."""
    document: dict[str, Any] = {
        "name": "moves",
        "about": "-",
        "renewals": {
            "source": "assumed",
            "countries": [{"code": "DE", "currency": "eur", "share": 1}],
            "networks": [{"name": "visa", "share": 1}],
            "funding": [{"name": "debit", "share": 1}],
            "amounts": [{"minor_units": 900, "share": 1}],
            "run_hours": [6],
        },
        "causes": {
            "source": "assumed",
            "codes": [
                {
                    "code": "insufficient_funds",
                    "share": 1,
                    "clears": 1,
                    "approves": 0.95,
                    "responds": 0,
                    "ways": [{"by": "wages"}],
                }
            ],
        },
        "wages": {
            "sets": [
                {
                    "source": "assumed",
                    "groups": [
                        {
                            "share": 1,
                            "on": {"rhythm": "days_of_month", "days": [day]},
                            "not_on_business_days": "same",
                            "hour": 3,
                        }
                    ],
                }
            ]
        },
        "funds": {"kind": "stay", "source": "assumed", "days": 2},
        "drift": [{"since": datetime.fromtimestamp(BEGINS, UTC).date().isoformat(), "wages_days": moves_by}],
    }
    return read_world(document)


def sure_of(*days: int) -> Timing:
    """Everybody is paid on these days."""
    paydays = {f"day_{day}": 1 / len(days) for day in days}
    return Timing(learned=Learned(Group(replace(prior("DE"), paydays=paydays, stays=(0.0, 1.0, *[0.0] * 6)))))


def kind_in(week: float, *, funding: str | None = "debit", amount: int = 900, currency: str = "eur") -> Kind:
    """What fails so many weeks after the first compared day."""
    return Kind("insufficient_funds", BEGINS + week * WEEK, "DE", "visa", 0, funding, currency, amount)


def times(plan: Plan) -> list[float]:
    return [step.at for step in plan.attempts]


def first_paydays(timing: Timing, *days: int) -> list[float]:
    assert timing.learned is not None
    return [timing.learned.everywhere.paydays[f"day_{day}"] for day in days]


def all_unexplored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.worker.recovery.case.EXPLORED", 0)


# --- What is learned until which week ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drifted() -> Lessons:
    """Everybody was paid on the 8th, and is from the first compared day on paid on the 16th."""
    return learn(POLICY, FAILURES, 1, world_of(8, moves_by=8))


def test_there_is_a_lesson_for_each_compared_week(drifted: Lessons) -> None:
    assert len(drifted.of_weeks) == COMPARED_WEEKS
    assert drifted.first is drifted.of_weeks[0]


def test_paydays_that_move_on_the_first_compared_day_are_learned_during_the_compared_weeks(drifted: Lessons) -> None:
    before, after = (first_paydays(each.timing, 8, 16) for each in (drifted.first, drifted.of_weeks[-1]))
    assert before[0] > 0.5
    assert before[1] < 0.02
    assert after[1] > 10 * before[1]
    assert after[1] > 0.15
    assert after[0] < before[0] - 0.15


def test_the_first_week_is_planned_by_what_was_learned_before_it_and_the_last_by_what_came_since(
    drifted: Lessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_unexplored(monkeypatch)
    brain = drifted.strategy("ours", POLICY)

    def chance_on(kind: Kind, day: int) -> float:
        steps = [step for step in brain.plan(kind).attempts if datetime.fromtimestamp(step.at, UTC).day == day]
        return sum(step.chance or 0.0 for step in steps)

    first, last = kind_in(1 / 7), kind_in(3 + 1 / 7)
    assert chance_on(first, 8) > 4 * chance_on(first, 16)
    assert chance_on(last, 16) > 2 * chance_on(first, 16)
    for kind, lesson in ((first, drifted.first), (last, drifted.of_weeks[-1])):
        assert times(brain.plan(kind)) == times(Brain("alone", POLICY, lesson.timing).plan(kind))


def test_where_nothing_moves_the_lesson_stays() -> None:
    lessons = learn(POLICY, FAILURES, 1, world_of(8))
    for each in lessons.of_weeks:
        eighth, sixteenth = first_paydays(each.timing, 8, 16)
        assert eighth > 0.5
        assert sixteenth < 0.02


def test_learning_during_the_compared_weeks_is_worth_payments_and_attempts_where_paydays_move(drifted: Lessons) -> None:
    strategies: list[Strategy] = [
        drifted.strategy("goes on", POLICY),
        Weekly.of("stops", POLICY, [drifted.first.timing]),
    ]
    result = simulate(strategies, failures=2_000, seed=4, world=world_of(8, moves_by=8))
    found = result.against["stops"]
    assert found.share - found.plus_minus > 0.01
    assert result.tallies["goes on"].attempts < result.tallies["stops"].attempts


def test_nothing_that_fails_in_a_week_or_after_is_known_in_it_and_nobody_of_the_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, seed = as_made(), 3
    played: list[Failure] = []
    pasts: list[OnRecord] = []
    taught: list[tuple[datetime, Sequence[Outcome]]] = []

    def playing(strategy: Strategy, failure: Failure) -> OnRecord:
        played.append(failure)
        pasts.append(past_of(strategy, failure))
        return pasts[-1]

    def learning_from(outcomes: Sequence[Outcome], now: datetime) -> Learned:
        taught.append((now, outcomes))
        return beliefs_learn(outcomes, now)

    beliefs_learn = beliefs.learn
    monkeypatch.setattr(learning, "past_of", playing)
    monkeypatch.setattr(beliefs, "learn", learning_from)
    learn(POLICY, FAILURES, seed, world)
    compared = {failure.draws for failure in islice(Population(world, seed), 20 * FAILURES)}
    assert len(played) == FAILURES + round(FAILURES * COMPARED_WEEKS / WEEKS)
    assert not compared & {failure.draws for failure in played}
    opened = [failure.kind.opened_at for failure in played]
    assert [int((at - BEGINS) // WEEK) for at in opened] == sorted(int((at - BEGINS) // WEEK) for at in opened)
    assert [now.timestamp() for now, _ in taught] == [BEGINS + week * WEEK for week in range(1 - WEEKS, COMPARED_WEEKS)]
    for now, outcomes in taught:
        known = [outcome_until(each, now.timestamp()) for each in pasts if each.kind.opened_at < now.timestamp()]
        assert len(outcomes) == sum(each is not None for each in known) > 0
        assert all(each.last_at < now for each in outcomes)


def test_without_failures_nothing_is_learned_in_any_week() -> None:
    lessons = learn(POLICY, 0, 3, as_made())
    assert [each.timing for each in lessons.of_weeks] == [BY_THE_RULES] * COMPARED_WEEKS


# --- Which brain plans what -------------------------------------------------------------------------------------------


def test_each_week_has_its_brain_and_what_is_before_or_after_them_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    all_unexplored(monkeypatch)
    timings = [sure_of(9), sure_of(19), sure_of(27)]
    brain = Weekly.of("ours", POLICY, timings)
    alone = [Remembering("ours", POLICY, each) for each in timings]
    weeks = {-3.0: 0, -1 / 7: 0, 0.0: 0, 6.9 / 7: 0, 1.0: 1, 1.9: 1, 2.0: 2, 2.9: 2, 9.0: 2}
    for week, expected in weeks.items():
        kind = kind_in(week)
        plans = [times(each.plan(kind)) for each in alone]
        assert times(brain.plan(kind)) == plans[expected]
        assert plans[0] != plans[1] != plans[2]
    assert (brain.name, brain.predicts, brain.hears_of_new_cards) == ("ours", True, True)


def test_about_one_in_twenty_explores_with_the_lesson_of_its_week() -> None:
    timings = [sure_of(9), sure_of(19)]
    brain = Weekly.of("ours", POLICY, timings)
    usual = [Brain("usual", POLICY, each) for each in timings]
    exploring = [Brain("exploring", POLICY, replace(each, explores=True)) for each in timings]
    kinds = [kind_in(hours / 168, amount=900 + hours) for hours in range(2 * 168)]
    explored = 0
    for kind in kinds:
        week = int((kind.opened_at - BEGINS) // WEEK)
        plan, one, other = (times(each.plan(kind)) for each in (brain, usual[week], exploring[week]))
        assert plan in (one, other)
        explored += plan == other != one
    assert EXPLORED / 3 < explored / len(kinds) < EXPLORED * 3


def test_nothing_is_explored_where_nothing_was_learned() -> None:
    brain, usual = Weekly.of("ours", POLICY, [BY_THE_RULES]), Brain("usual", POLICY)
    for failure in islice(Population(as_made(), 5), 300):
        assert times(brain.plan(failure.kind)) == times(usual.plan(failure.kind))


def test_a_customer_who_has_failed_before_is_remembered_with_the_lesson_of_the_week(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    all_unexplored(monkeypatch)
    timings = [sure_of(9, 27), sure_of(19, 27)]
    brain = Weekly.of("ours", POLICY, timings)
    found = 0
    for failure in islice(population_of(shipped("own_paydays"), 2), 400):
        week = int((failure.kind.opened_at - BEGINS) // WEEK)
        alone = Remembering("alone", POLICY, timings[min(week, 1)])
        assert times(brain.plan_of(failure)) == times(alone.plan_of(failure))
        found += bool(failure.earlier) and times(alone.plan_of(failure)) != times(alone.plan(failure.kind))
    assert found > 10


# --- Groups -----------------------------------------------------------------------------------------------------------


def grouped() -> Timing:
    """Debit cards are paid on the 9th if little is due and on the 13th if much is, all others on the 19th."""

    def paid(day: int) -> Group:
        timing = sure_of(day)
        assert timing.learned is not None
        return timing.learned.root

    debit = replace(paid(9), by=Trait.AMOUNT, parts={SMALL: paid(9), LARGE: paid(13), REST: paid(9)})
    root = replace(paid(19), by=Trait.FUNDING, parts={"debit": debit, REST: paid(19)})
    return Timing(learned=Learned(root, {"eur": 1_000}))


def test_kinds_of_one_group_share_a_plan_and_those_of_different_groups_do_not() -> None:
    brain = Brain("ours", POLICY, grouped())

    def plan(funding: str | None, amount: int, currency: str = "eur") -> Plan:
        return brain.plan(kind_in(0.2, funding=funding, amount=amount, currency=currency))

    assert plan("debit", 900) is plan("debit", 1_000)
    assert plan("debit", 1_001) is plan("debit", 9_900)
    assert plan("debit", 900, "usd") is plan("debit", 9_900, "usd")
    assert plan("prepaid", 900) is plan("prepaid", 9_900) is plan(None, 900)
    plans = [plan("debit", 900), plan("debit", 9_900), plan("debit", 900, "usd"), plan("prepaid", 900)]
    assert len({id(each) for each in plans}) == 4
    best = [max(each.attempts, key=lambda step: step.chance or 0).at for each in plans]
    assert [datetime.fromtimestamp(at, UTC).day for at in best] == [9, 13, 9, 19]


def test_by_the_rules_or_without_groups_all_amounts_share_a_plan() -> None:
    by_rules = POLICY.model_copy(update={"timing": "rules"})
    for brain in (Brain("rules", by_rules, grouped()), Brain("one", POLICY, sure_of(9)), Brain("none", POLICY)):
        plans = {id(brain.plan(kind_in(0.2, funding="debit", amount=each))) for each in (900, 9_900)}
        assert len(plans) == 1
    one, other = Brain("rules", by_rules, grouped()), Brain("rules", by_rules)
    assert times(one.plan(kind_in(0.2))) == times(other.plan(kind_in(0.2)))


def test_what_is_tried_of_a_group_is_recorded_with_what_it_is_known_by() -> None:
    kind = kind_in(0.2, funding="prepaid", amount=4_900)
    failure = replace(next(Population(as_made(), 1)), kind=kind)
    outcome = outcome_until(past_of(Brain("ours", POLICY), failure), BEGINS + 60 * DAY)
    assert outcome is not None
    traits = outcome.traits
    assert (traits.country, traits.funding, traits.network) == ("DE", "prepaid", "visa")
    assert traits.amount is not None
    assert (traits.amount.amount, traits.amount.currency) == (4_900, "eur")
