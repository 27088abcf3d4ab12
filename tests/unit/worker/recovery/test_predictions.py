"""The chance that a decision to attempt predicts: of the hour in which the attempt is made, and of nothing else."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.recovery import (
    AttemptNow,
    DeclineCause,
    Likeliest,
    Policy,
    Prediction,
    Schedules,
    Wait,
    decide,
)
from services.worker.recovery.belief.beliefs import believed_before
from services.worker.recovery.belief.planning import Limits, at_another_time, plan
from services.worker.recovery.belief.prior import PRIORS
from shared.ids import PaymentMethodId
from shared.policy import AttemptTimes
from tests.unit.worker.recovery.builders import DEADLINE, FIXED, OPENED, VISA, attempt, first_failure, invoice, recovery

LIKELIEST = Policy(schedules=Schedules(insufficient_funds=Likeliest()), max_attempts=12)
FUNDS = DeclineCause.INSUFFICIENT_FUNDS
ANOTHER = PaymentMethodId("pm_2")


def planned_for(policy: Policy = LIKELIEST) -> Wait:
    """The decision right after the failure."""
    decision = decide(policy, recovery(), invoice(), [first_failure()], OPENED)
    assert isinstance(decision, Wait)
    return decision


def made(at: datetime, policy: Policy = LIKELIEST) -> AttemptNow:
    """The first attempt, made at this time."""
    decision = decide(policy, recovery(), invoice(), [first_failure()], at)
    assert isinstance(decision, AttemptNow)
    return decision


def test_an_attempt_has_the_chance_that_its_plan_told_and_the_cause_before_it() -> None:
    plan_told = planned_for()
    decision = made(plan_told.until)
    assert decision.prediction is not None
    assert decision.prediction.after_cause is FUNDS
    assert round(decision.prediction.chance, 3) == plan_told.reason.inputs["chance"]
    assert made(plan_told.until + timedelta(minutes=1)) == decision


def test_after_the_next_decline_it_is_another_prediction() -> None:
    first = planned_for().until
    past = [first_failure(), attempt("do_not_honor", after=first - OPENED)]
    policy = LIKELIEST.model_copy(update={"schedules": Schedules(do_not_honor=Likeliest())})
    waits = decide(policy, recovery(), invoice(), past, first)
    assert isinstance(waits, Wait)
    decision = decide(policy, recovery(), invoice(), past, waits.until)
    assert isinstance(decision, AttemptNow)
    assert decision.prediction is not None
    assert decision.prediction.after_cause is DeclineCause.DO_NOT_HONOR


def test_an_attempt_that_was_put_off_has_the_chance_of_its_own_hour_and_says_so() -> None:
    """Money that is there on a payday is gone a week later: the chance was for the payday."""
    policy = Policy(
        schedules=Schedules(insufficient_funds=Likeliest(wages={"day_1": 1.0})), max_attempts=12, window_days=60
    )
    due = planned_for(policy).until
    on_time, late = made(due, policy), made(due + timedelta(days=12), policy)
    assert on_time.prediction is not None
    assert late.prediction is not None
    assert late.prediction.chance < 0.6 * on_time.prediction.chance
    assert late.reason.inputs["chance"] == round(late.prediction.chance, 3)
    assert f"It is {late.prediction.chance:.0%} likely to succeed" in late.reason.text
    assert late.reason.inputs["due"] == on_time.reason.inputs["due"]


def test_a_plan_that_a_gap_puts_off_tells_the_chance_of_the_later_hour() -> None:
    gap = LIKELIEST.model_copy(update={"minimum_gap_hours": 24 * 9})
    waits = planned_for(gap)
    assert waits.until == OPENED + timedelta(days=9)
    decision = made(waits.until, gap)
    assert decision.prediction is not None
    assert waits.reason.inputs["chance"] == round(decision.prediction.chance, 3)
    assert waits.reason.inputs["chance"] != planned_for().reason.inputs["chance"]


def test_the_first_try_of_a_payment_method_and_other_schedules_predict_nothing() -> None:
    new = decide(LIKELIEST, recovery(), invoice(method=ANOTHER, card=None), [first_failure()], OPENED)
    assert isinstance(new, AttemptNow)
    assert new.prediction is None
    for policy in (FIXED, FIXED.model_copy(update={"timing": "learned"})):
        decision = decide(policy, recovery(), invoice(), [first_failure()], DEADLINE - timedelta(hours=1))
        assert isinstance(decision, AttemptNow)
        assert decision.prediction is None


@pytest.mark.parametrize("chance", [-0.01, 1.01, float("nan")])
def test_a_chance_is_a_share(chance: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Prediction(chance, FUNDS)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(PRIORS)),
    st.integers(0, 365 * 24),
    st.integers(0, 3),
    st.integers(0, 59),
    st.integers(0, 20 * 24),
)
def test_in_the_planned_hour_both_ways_give_one_chance_and_in_any_other_a_share(
    cause: DeclineCause, hours: int, done: int, minute: int, later: int
) -> None:
    failed = OPENED + timedelta(hours=hours)
    stories = believed_before(cause, VISA, {})
    limits = Limits(timedelta(hours=20), failed + timedelta(days=21), 12, 0.005, AttemptTimes(), VISA.country)
    whole = plan(stories, [failed], limits)
    declined = [failed, *(each.at for each in whole[:done])]
    for each in plan(stories, declined, limits)[:1]:
        within = at_another_time(stories, declined, each.at + timedelta(minutes=minute))
        assert (within.at, within.chance, within.why) == (each.at, each.chance, each.why)
    other = at_another_time(stories, declined, declined[-1] + timedelta(hours=later))
    assert 0 <= other.chance == other.collected <= 1
