"""People say that nothing is to be done: the rules that hold a recovery, and what comes before and after them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.worker.recovery import (
    HOLDS,
    AttemptResult,
    Close,
    InvoiceStatus,
    Pause,
    Policy,
    Wait,
    decide,
)
from shared.recovery_model import EndReason
from tests.unit.worker.recovery.builders import DEADLINE, DEFAULT, OPENED, attempt, first_failure, invoice, recovery

DAY = timedelta(days=1)
SOON = OPENED + 5 * DAY
PAUSED = replace(invoice(), paused=Pause(behavior="void"))
HOLDING: dict[str, tuple[Any, Any, datetime | None]] = {
    "left alone": (replace(recovery(), left_alone=(SOON,)), invoice(), SOON),
    "left alone twice": (replace(recovery(), left_alone=(OPENED + DAY, SOON)), invoice(), SOON),
    "collection off": (replace(recovery(), collection_off=True), invoice(), None),
    "paused": (recovery(), PAUSED, None),
    "paused until": (recovery(), replace(invoice(), paused=Pause(SOON, "void")), SOON),
}


@pytest.mark.parametrize("name", HOLDING)
@pytest.mark.parametrize("code", ["insufficient_funds", "lost_card", "authentication_required"])
def test_held_it_waits_whatever_the_rules_about_payment_methods_say(name: str, code: str) -> None:
    facts, truth, until = HOLDING[name]
    decision = decide(DEFAULT, facts, truth, [first_failure(code)], OPENED)
    assert isinstance(decision, Wait)
    assert decision.reason.rule in HOLDS
    assert decision.until == (until or OPENED + DAY)
    assert {road.action for road in decision.reason.considered} == {"attempt_now", "message", "end_action"}


@pytest.mark.parametrize("name", HOLDING)
def test_held_it_is_not_exhausted_when_its_window_is_over(name: str) -> None:
    facts, truth, _ = HOLDING[name]
    over = Policy(end_action="cancel", window_days=3, message_days=())
    assert isinstance(decide(over, facts, truth, [first_failure()], OPENED + 4 * DAY), Wait)


@pytest.mark.parametrize("name", HOLDING)
@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"status": InvoiceStatus.VOID}, "stopped"),
        ({"status": InvoiceStatus.PAID}, "stopped"),
        ({"subscription_status": "canceled"}, "stopped"),
    ],
)
def test_what_ends_it_comes_before_what_holds_it(name: str, change: dict[str, Any], state: str) -> None:
    facts, truth, _ = HOLDING[name]
    decision = decide(DEFAULT, facts, replace(truth, **change), [first_failure()], OPENED)
    assert isinstance(decision, Close)
    assert decision.state == state


@pytest.mark.parametrize("name", HOLDING)
@pytest.mark.parametrize("result", [AttemptResult.STARTED, AttemptResult.UNKNOWN, AttemptResult.SUCCEEDED])
def test_an_attempt_that_may_have_charged_is_looked_at_first(name: str, result: AttemptResult) -> None:
    facts, truth, _ = HOLDING[name]
    decision = decide(DEFAULT, facts, truth, [first_failure(), attempt(result=result)], OPENED)
    assert decision.reason.rule == "outcome_unknown"


@pytest.mark.parametrize("name", [name for name, (_, _, until) in HOLDING.items() if until is not None])
def test_when_it_is_over_the_other_rules_speak_again(name: str) -> None:
    facts, truth, _ = HOLDING[name]
    assert decide(DEFAULT, facts, truth, [first_failure()], SOON).reason.rule not in HOLDS


def test_the_time_in_which_it_was_held_does_not_count() -> None:
    late = DEADLINE + 2 * DAY
    assert isinstance(decide(DEFAULT, recovery(), invoice(), [first_failure()], late), Close)
    held = replace(recovery(), held=10 * DAY)
    assert not isinstance(decide(DEFAULT, held, invoice(), [first_failure()], late), Close)
    assert isinstance(decide(DEFAULT, held, invoice(), [first_failure()], DEADLINE + 10 * DAY), Close)


def test_left_alone_for_good_it_is_stopped() -> None:
    alone = replace(recovery(), left_alone=(SOON, None))
    decision = decide(DEFAULT, alone, invoice(), [first_failure()], OPENED)
    assert isinstance(decision, Close)
    assert (decision.state, decision.end_reason, decision.reason.rule) == (
        "stopped",
        EndReason.STOPPED_BY_OPERATOR,
        "left_alone",
    )


def test_a_pause_of_our_own_holds_nothing() -> None:
    ours = replace(invoice(), paused=Pause(behavior="keep_as_draft", ours=True))
    assert decide(DEFAULT, recovery(), ours, [first_failure()], OPENED).reason.rule not in HOLDS


@pytest.mark.parametrize("name", ["collection off", "paused"])
def test_after_a_year_without_a_word_it_is_stopped(name: str) -> None:
    facts, truth, _ = HOLDING[name]
    decision = decide(DEFAULT, replace(facts, held=365 * DAY), truth, [first_failure()], OPENED + 365 * DAY)
    assert isinstance(decision, Close)
    assert (decision.state, decision.end_reason) == ("stopped", EndReason.COLLECTED_BY_HAND)


@pytest.mark.parametrize(
    ("collects", "ending", "stopped"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_a_policy_may_leave_what_ends_uncollected(collects: bool, ending: bool, stopped: bool) -> None:
    truth = replace(invoice(), ending=ending)
    decision = decide(Policy(collect_ending=collects), recovery(), truth, [first_failure()], OPENED)
    assert isinstance(decision, Close) == stopped
    if isinstance(decision, Close):
        assert (decision.end_reason, decision.end_action) == (EndReason.SUBSCRIPTION_ENDING, "leave")


@pytest.mark.parametrize("schema", [1, 2, 3, 4])
def test_older_documents_collect_what_ends(schema: int) -> None:
    policy = Policy.model_validate({"schema_version": schema})
    assert policy.collect_ending
    assert policy.model_dump()["schema_version"] == 6
