"""Replays with shortcuts against replays that ask the brain for every decision: the same traces, to the microsecond."""

from random import Random

import pytest

from console.evaluation.backtest import run
from console.evaluation.backtest.lessons import Lessons
from console.evaluation.backtest.past import Past
from console.evaluation.backtest.replay import Replay
from console.evaluation.backtest.trace import Trace
from console.evaluation.history import Failure
from services.worker.recovery import Decision, Policy, decide
from tests.unit.console.evaluation.backtest import random_pasts
from tests.unit.console.evaluation.backtest.synthetic import CITADEL, at, declined, failure, ladder, past

UNTIL = at(170)


def both(policy: Policy, pasts: list[Past]) -> tuple[list[Trace], list[Trace]]:
    """The traces without shortcuts and with them, by invoice."""
    plain, quick = (Replay(policy, Lessons(pasts), shortcuts=each)(pasts) for each in (False, True))
    return sorted(plain, key=_invoice), sorted(quick, key=_invoice)


def _invoice(trace: Trace) -> str:
    return trace.past.failure.invoice


@pytest.mark.parametrize("seed", range(60))
def test_shortcuts_lead_the_same_way_whatever_the_past_and_the_policy(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test has to be repeatable
    pasts = [Past(each, UNTIL) for each in random_pasts.failures(random, 40)]
    for _ in range(2):
        policy = random_pasts.policy(random)
        plain, quick = both(policy, pasts)
        for one, other in zip(plain, quick, strict=True):
            assert one == other, policy.model_dump_json(exclude_defaults=True)


def test_for_most_failures_the_brain_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    header, failures, _ = past(500, 1, ladder("stripe"))
    pasts = [Past(each, header.until) for each in failures]
    asked: list[object] = []

    def counting(*given: object, **named: object) -> Decision:
        asked.append(given)
        return decide(*given, **named)  # type: ignore[arg-type]  # as it was given

    monkeypatch.setattr(run, "decide", counting)
    plain, quick = both(CITADEL, pasts[:50])
    assert plain == quick
    assert len(asked) > 300
    asked.clear()
    assert sum(len(trace.steps) for trace in Replay(CITADEL)(pasts)) > 1_500
    assert len(asked) < 50


def test_attempts_on_one_card_are_counted_together_with_shortcuts_too() -> None:
    """Every failure is on one card, so limits are reached again and again."""
    random = Random(3)  # noqa: S311 - a test has to be repeatable
    card = {"fingerprint": "one", "network": "mastercard", "country": "BR"}
    given = [each.model_dump(exclude={"card"}) | {"card": card} for each in random_pasts.failures(random, 60)]
    pasts = [Past(Failure.model_validate(each), UNTIL) for each in given]
    for number in range(12):
        policy = random_pasts.policy(Random(number))  # noqa: S311 - see above
        plain, quick = both(policy, pasts)
        assert plain == quick
        assert not any(trace.breaches for trace in quick)


@pytest.mark.parametrize("code", sorted(set(random_pasts.CODES)))
def test_failures_of_one_kind_each_have_their_own_window(code: str) -> None:
    pasts = [Past(failure(declined(day, code), invoice=f"in_{day}"), UNTIL) for day in (0, 60, 30)]
    plain, quick = both(CITADEL, pasts)
    assert plain == quick


def test_what_a_network_said_about_the_card_elsewhere_is_heard() -> None:
    card = {"fingerprint": "one", "network": "visa", "country": "US"}
    given = [
        failure(declined(0), invoice="in_1", card=card),
        failure(declined(0.5, network_decline_code="14"), invoice="in_2", card=card),
        failure(declined(0), invoice="in_3"),
    ]
    plain, quick = both(CITADEL, [Past(each, UNTIL) for each in given])
    assert plain == quick
    assert [bool(trace.steps) for trace in quick] == [False, False, True]
