"""A few recoveries are planned with all doubt of what was learned: always the same ones, and they say so."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from console.evaluation.population import SPREADS
from services.worker.recovery import (
    BY_THE_RULES,
    AttemptNow,
    DeclineCause,
    Likeliest,
    Policy,
    Schedules,
    Timing,
    Wait,
    decide,
)
from services.worker.recovery import timing as module
from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.customers import Earlier
from services.worker.recovery.belief.groups import Group, Traits
from services.worker.recovery.belief.learning import Outcome
from services.worker.recovery.belief.planning import Limits, plan
from services.worker.recovery.belief.prior import prior
from services.worker.recovery.case import EXPLORED, is_explored
from tests.unit.worker.recovery.builders import (
    DUE,
    OPENED,
    VISA,
    attempt,
    first_failure,
    invoice,
    recovery,
)

FUNDS = DeclineCause.INSUFFICIENT_FUNDS
# What is sure: everybody is paid on the 15th, and the money is gone within a day.
SURE = Learned(Group(replace(prior("DE"), paydays={"day_15": 1.0}, stays=(0.0, 1.0, *[0.0] * 6))))
TIMING = Timing(learned=SURE)
POLICY = Policy(timing="learned", schedules=Schedules(insufficient_funds=Likeliest(least_chance=0.13)))
BY_RULES = POLICY.model_copy(update={"timing": "rules"})
KEYS = [str(UUID(int=number * 0x9E3779B97F4A7C15)) for number in range(40_000)]
EXPLORES = next(key for key in KEYS if is_explored(key))
OTHER = next(key for key in KEYS if not is_explored(key))
SAYS_SO = "This is one of the few recoveries that also try times beside those that were learned of your customers"


Decisions = list[AttemptNow | Wait]


@pytest.fixture(autouse=True)
def plans_have_little_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it is, those that explore have all of it."""
    monkeypatch.setattr(module, "PLANS", 0.5)


def played(key: str, timing: Timing = TIMING, policy: Policy = POLICY) -> tuple[Decisions, list[datetime]]:
    """All that is decided while every attempt is declined, and the hours of the attempts."""
    past, now = [first_failure()], OPENED
    decisions: Decisions = []
    hours: list[datetime] = []
    while isinstance(
        decision := decide(policy, recovery(key=key), invoice(), past, now, timing=timing), AttemptNow | Wait
    ):
        decisions.append(decision)
        if isinstance(decision, AttemptNow):
            hours.append(now.replace(minute=0, second=0, microsecond=0))
            past.append(attempt(after=now - OPENED, number=len(past)))
        elif decision.until >= OPENED + timedelta(days=policy.window_days):
            break
        else:
            now = decision.until
    return decisions, hours


def test_the_same_recoveries_always_and_about_one_in_twenty() -> None:
    found = [key for key in KEYS if is_explored(key)]
    assert EXPLORED == 0.05
    assert len(found) / len(KEYS) == pytest.approx(EXPLORED, abs=0.005)
    assert found == [key for key in KEYS if is_explored(key)]
    halves = [sum(map(is_explored, KEYS[half::2])) for half in (0, 1)]
    assert min(halves) > 0.8 * max(halves), "whatever the key begins or ends with"


def test_the_plan_of_one_that_explores_also_tries_the_day_before_and_the_day_after() -> None:
    _, usual = played(OTHER)
    _, exploring = played(EXPLORES)
    assert [each.day for each in usual] == [15]
    assert [each.day for each in exploring] == [14, 15, 16]


def test_it_says_so_with_every_decision_about_an_attempt_and_no_other_recovery_does() -> None:
    decisions, _ = played(EXPLORES)
    planned = [each for each in decisions if each.reason.rule == "likeliest"]
    assert {type(each) for each in planned} == {AttemptNow, Wait}
    assert len(planned) >= 6
    for each in planned:
        assert each.reason.inputs["explores"] is True
        assert SAYS_SO in each.reason.text
    others, _ = played(OTHER)
    assert len(others) >= 2
    for each in others:
        assert "explores" not in each.reason.inputs
        assert SAYS_SO not in each.reason.text


def test_chances_are_told_with_less_doubt_than_plans_are_made_with() -> None:
    """A time is worth a try for what it may teach; that makes it no likelier."""
    wages: dict[str, float] = {}
    about = FUNDS, VISA, DUE, wages
    told, explored = TIMING.told(*about), replace(TIMING, explores=True)
    assert explored.told(*about) is told, "the same for those that explore"
    for key, timing in ((OTHER, TIMING), (EXPLORES, explored)):
        decisions, _ = played(key)
        first = next(each for each in decisions if isinstance(each, AttemptNow) and each.prediction)
        assert first.prediction is not None
        planned, *_ = plan(timing.believed(*about), [OPENED], limits())
        alike, *_ = plan(timing.believed(*about), [OPENED], limits(), told)
        assert first.prediction.chance == pytest.approx(alike.chance)
        assert abs(alike.chance - planned.chance) > 0.01
        assert alike.at == planned.at


def limits() -> Limits:
    schedule = POLICY.schedules.insufficient_funds
    assert isinstance(schedule, Likeliest)
    until = OPENED + timedelta(days=POLICY.window_days)
    gap = timedelta(hours=schedule.after_hours)
    return Limits(gap, until, POLICY.max_attempts, schedule.least_chance, POLICY.attempt_times, "DE")


@pytest.mark.parametrize(
    ("policy", "timing"),
    [
        (POLICY, BY_THE_RULES),
        (BY_RULES, TIMING),
        (BY_RULES, BY_THE_RULES),
        (POLICY, Timing(earlier=Earlier((), OPENED))),
    ],
    ids=["nothing was learned", "by the rules", "neither", "nothing but a customer is known"],
)
def test_where_nothing_was_learned_or_wanted_nothing_is_explored(policy: Policy, timing: Timing) -> None:
    wide = policy.model_copy(update={"schedules": Schedules(insufficient_funds=Likeliest())})
    usual, hours = played(OTHER, timing, wide)
    exploring, same_hours = played(EXPLORES, timing, wide)
    assert hours == same_hours
    assert len(hours) > 3
    for each in (*usual, *exploring):
        assert "explores" not in each.reason.inputs
        assert SAYS_SO not in each.reason.text


def test_a_customer_who_is_known_is_explored_from_what_was_learned_of_all() -> None:
    """Whoever paid on the 15th before is surely paid on the 15th: the doubt is about all others."""
    failed = OPENED - timedelta(days=31)
    known = Earlier((Outcome(FUNDS, Traits("DE"), (failed,), failed.replace(day=15, hour=9)),), OPENED)
    alone = Timing(earlier=known).believed(FUNDS, VISA, DUE, {})
    assert Timing(earlier=known, explores=True).believed(FUNDS, VISA, DUE, {}) is alone, "nothing was learned of others"
    plain, exploring = (
        Timing(learned=SURE, earlier=known, explores=each).believed(FUNDS, VISA, DUE, {}) for each in (False, True)
    )
    assert plain is not exploring
    assert Timing(learned=SURE, earlier=known, explores=True).believed(FUNDS, VISA, DUE, {}) is exploring
    decisions, _ = played(EXPLORES, replace(TIMING, earlier=known))
    inputs = decisions[0].reason.inputs
    assert (inputs["explores"], inputs["earlier_recoveries"]) == (True, 1)


def test_the_keys_of_simulations_explore_nothing_by_themselves() -> None:
    """Whole simulations have these keys only: `Weekly` says which of their failures are explored."""
    assert [is_explored(f"simulated/{spread}") for spread in range(SPREADS)] == [False] * SPREADS
