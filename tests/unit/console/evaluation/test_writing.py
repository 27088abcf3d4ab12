"""When a simulated customer is written to, what the past teaches of it, and what it gains where hours matter."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

import pytest

from console.evaluation.clairvoyant import Clairvoyant
from console.evaluation.learning import learn
from console.evaluation.play import NOBODY, play
from console.evaluation.population import DAY, NEVER, Population
from console.evaluation.simulate import Difference, simulate
from console.evaluation.strategies import Brain, asks_for, segment_for
from console.evaluation.worlds import World, shipped
from console.evaluation.writing import Writer, answered_soonest, answers_by, message_gaps, written_about
from services.worker.recovery import HourOfMessages, MessageKind, Policy, Timing
from services.worker.recovery.message_answers import NOTHING_LEARNED, REMEMBERED, Answers
from services.worker.recovery.timezones import zone_of
from shared.policy import AnyHour, LikeliestHour

FIXED = Policy.model_validate({"schema_version": 4, "timing": "learned", "message_hours": {"kind": "likeliest"}})
"""Fixed schedules, which are played fast; messages wait for their hours."""
WHEN_DUE = FIXED.model_copy(update={"message_hours": AnyHour()})
EVENING = Answers(tuple(1.5 if 17 <= hour < 20 else 1.0 for hour in range(24)), (0.0,) * 24, 9_000)


def hours_of(world: World, answers: Answers, failures: int = 300) -> set[int]:
    """The local hours at which messages about a world's failures go out, but for the last, which have little time."""
    found = set()
    for failure in islice(Population(world, 4), failures):
        kind, zone = failure.kind, zone_of(failure.kind.country)
        for at in Writer(answers).messages(FIXED, None, kind, MessageKind.PAYMENT_FAILED)[:-1]:
            found.add(datetime.fromtimestamp(at, zone).hour)
    return found


def gain(world: str, failures: int = 4_000) -> Difference:
    """By how much more is paid with hours that 800 failures have taught than with messages when they are due."""
    lesson = learn(FIXED, 800, 3, shipped(world)).first
    strategies = [Brain("learned", FIXED, lesson.timing), Brain("when due", WHEN_DUE, lesson.timing)]
    return simulate(strategies, failures=failures, seed=8, world=shipped(world)).against["when due"]


@pytest.mark.parametrize("world", ["evening_readers", "silent_banks"])
def test_where_hours_matter_learned_hours_gain(world: str) -> None:
    found = gain(world)
    assert found.share - found.plus_minus > 0.02


def test_where_hours_do_not_matter_they_cost_nothing_that_matters() -> None:
    assert gain("as_made").share > -0.002


def test_night_workers_are_written_to_at_night_once_that_was_learned() -> None:
    world = shipped("night_workers")
    assert not hours_of(world, NOTHING_LEARNED) & set(range(1, 7))
    taught = learn(WHEN_DUE, 3_000, 3, world).first.timing.answers
    assert taught.factors[2] > taught.factors[12]
    assert hours_of(world, taught) & set(range(1, 7))


def test_messages_of_a_simulation_are_the_workers_with_what_was_learned() -> None:
    for failure in islice(Population(shipped("as_made"), 2), 200):
        kind, about = failure.kind, asks_for(failure.kind.decline)
        plan = Brain("b", FIXED, Timing(answers=EVENING)).plan(kind)
        hours = HourOfMessages(LikeliestHour(), kind.country, f"simulated/{kind.spread}", EVENING)
        expected = message_gaps(FIXED, about, kind.opened, hours)
        assert plan.messages == tuple(kind.opened_at + gap for gap in expected)
        assert segment_for(FIXED, kind) is None
        if about is not MessageKind.ACTION_REQUIRED:
            times = [datetime.fromtimestamp(at, zone_of(kind.country)).hour for at in plan.messages[:-1]]
            assert set(times) <= {17, 18, 19}


def test_by_the_rules_a_simulation_goes_by_what_is_assumed() -> None:
    kind = next(Population(shipped("as_made"), 2)).kind
    by_the_rules = FIXED.model_copy(update={"timing": "rules"})
    learned = Brain("b", by_the_rules, Timing(answers=EVENING)).plan(kind).messages
    assert learned == Brain("b", by_the_rules).plan(kind).messages


def test_older_policies_write_on_the_days_at_the_hour_of_the_failure() -> None:
    assert message_gaps(WHEN_DUE, MessageKind.PAYMENT_FAILED) == (0, 3 * DAY, 7 * DAY, 14 * DAY, 20 * DAY)
    kind = next(Population(shipped("as_made"), 2)).kind
    assert Writer(EVENING).messages(WHEN_DUE, None, kind, MessageKind.PAYMENT_FAILED)[1] == kind.opened_at + 3 * DAY


def test_a_past_teaches_what_came_before_and_nothing_later() -> None:
    kind = next(Population(shipped("as_made"), 2)).kind
    at = kind.opened_at
    sent = (at, at + 3 * DAY, at + 7 * DAY)
    later = written_about(kind, MessageKind.PAYMENT_FAILED, sent, at + 4 * DAY, at + 30 * DAY)
    assert [each.answered for each in later] == [False, True, False]
    assert len(written_about(kind, MessageKind.PAYMENT_FAILED, sent, at + 4 * DAY, at + 5 * DAY)) == 1
    one = written_about(kind, MessageKind.PAYMENT_FAILED, sent[:1], None, at + 30 * DAY)
    assert answers_by([one] * (REMEMBERED + 500), at + 30 * DAY).messages == REMEMBERED
    assert answers_by([], at) == NOTHING_LEARNED


@pytest.mark.parametrize("world", ["evening_readers", "night_workers", "silent_banks", "as_made"])
@pytest.mark.parametrize("best", [(2, 5), (9, 12), (17, 20)])
def test_whatever_was_learned_nobody_has_paid_what_the_clairvoyant_has_not(world: str, best: tuple[int, int]) -> None:
    factors = tuple(2.0 if best[0] <= hour < best[1] else 1.0 for hour in range(24))
    brain = Brain("b", FIXED, Timing(answers=replace(EVENING, factors=factors)))
    clairvoyant = Clairvoyant(FIXED)
    for failure in islice(Population(shipped(world), 6), 600):
        fate = play(brain, failure)
        if fate.by != NOBODY and fate.paid_at < brain.plan(failure.kind).ends:
            assert clairvoyant.play(failure).paid_at <= fate.paid_at


def test_the_soonest_answer_is_that_of_the_first_hour_in_which_a_message_is_answered() -> None:
    checked = 0
    for failure in islice(Population(shipped("night_workers"), 6), 200):
        due = failure.kind.opened_at + 3 * DAY
        found = answered_soonest(failure, 1, due, due + 10 * DAY)
        steps = (due + timedelta(hours=hours).total_seconds() for hours in range(24))
        answers = [answer for at in steps if (answer := failure.answered_at(1, at)) < NEVER]
        assert (found < NEVER) == bool(answers)
        assert not answers or found <= answers[0]
        checked += bool(answers)
    assert checked > 10
