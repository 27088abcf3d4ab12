"""Attempts by what is believed: `likeliest` in a policy, from the failure to the window's end."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from services.worker.recovery import AttemptNow, Likeliest, Policy, Schedules, Wait, decide
from shared.policy import PolicyRefused, read_policy
from tests.unit.worker.recovery.builders import DEADLINE, OPENED, VISA, attempt, first_failure, invoice, recovery

LIKELIEST = Policy(schedules=Schedules(insufficient_funds=Likeliest()), max_attempts=12)


def test_it_waits_for_the_likeliest_time_says_how_likely_and_attempts_then() -> None:
    past = [first_failure()]
    waits = decide(LIKELIEST, recovery(), invoice(), past, OPENED)
    assert isinstance(waits, Wait)
    assert waits.reason.rule == "likeliest"
    assert "likely to succeed" in waits.reason.text
    chance, collected = waits.reason.inputs["chance"], waits.reason.inputs["collected"]
    assert isinstance(chance, float)
    assert isinstance(collected, float)
    assert 0 < chance < collected < 1
    assert OPENED + timedelta(hours=20) <= waits.until < DEADLINE
    now = decide(LIKELIEST, recovery(), invoice(), past, waits.until)
    assert isinstance(now, AttemptNow)
    assert now.reason.inputs["chance"] == waits.reason.inputs["chance"]


def test_a_whole_recovery_makes_at_most_so_many_attempts_and_then_waits_for_the_window() -> None:
    past, now, made = [first_failure()], OPENED, 0
    while now < DEADLINE:
        decision = decide(LIKELIEST, recovery(), invoice(), past, now)
        if isinstance(decision, AttemptNow):
            made += 1
            past.append(attempt(after=now - OPENED, number=made))
        elif isinstance(decision, Wait):
            assert decision.until > now
            now = decision.until
        else:
            break
    assert 4 <= made <= 12


@pytest.mark.parametrize(("network", "most"), [("us_bank_account", 2), ("visa", 12), (None, 2)])
def test_where_a_network_allows_few_attempts_the_best_few_are_planned(network: str | None, most: int) -> None:
    """Of two retries of a debit none is spent on a day on which hardly anybody is paid."""
    truth = invoice(card=replace(VISA, network=network, country="US"))
    now, past, chances = OPENED, [first_failure()], []
    while isinstance(decision := decide(LIKELIEST, recovery(), truth, past, now), AttemptNow | Wait):
        if isinstance(decision, AttemptNow):
            assert decision.prediction is not None
            chances.append(decision.prediction.chance)
            past.append(attempt(after=now - OPENED, number=len(past)))
        elif decision.until >= DEADLINE:
            break
        else:
            now = decision.until
    assert 0 < len(chances) <= most
    if most == 2:
        assert min(chances) > 0.1


@pytest.mark.parametrize("day", range(0, 30, 2))
def test_both_attempts_that_a_debit_is_allowed_are_begun_in_the_window(day: int) -> None:
    """Although the bank's answer to the first takes four days. How long the renewal's took, nobody knows."""
    truth, took = invoice(card=replace(VISA, network="us_bank_account", country=None)), timedelta(days=4)
    opened = OPENED + timedelta(days=day)
    facts = replace(recovery(), opened_at=opened)
    past = [replace(first_failure(), at=opened)]
    now, made = opened, 0
    while isinstance(decision := decide(LIKELIEST, facts, truth, past, now), AttemptNow | Wait):
        if isinstance(decision, AttemptNow):
            made += 1
            past.append(replace(attempt(after=now - OPENED, number=made), answered_at=now + took))
            now += took
        elif decision.until >= opened + timedelta(days=21):
            break
        else:
            now = decision.until
    assert made == 2


def test_where_nothing_is_likely_enough_only_messages_go_on() -> None:
    thrifty = Policy(schedules=Schedules(insufficient_funds=Likeliest(least_chance=0.5)))
    decision = decide(thrifty, recovery(), invoice(), [first_failure()], OPENED)
    assert isinstance(decision, Wait)
    assert (decision.reason.rule, decision.until) == ("nothing_likely", DEADLINE)


def test_wages_that_are_no_payday_or_more_than_all_are_refused_with_their_place() -> None:
    with pytest.raises(ValidationError, match="near it: day_2"):
        Likeliest(wages={"day_2b": 0.5})
    with pytest.raises(ValidationError, match="more than all"):
        Likeliest(wages={"day_1": 0.7, "day_2": 0.7})
    given = {"schema_version": 4, "schedules": {"unknown": {"kind": "likeliest", "wages": {"friday": 1}}}}
    with pytest.raises(PolicyRefused) as refused:
        read_policy(given)
    assert any("schedules" in str(problem) for problem in refused.value.problems)
