"""Replays with shortcuts against replays that ask the brain for every decision: the same ways, to the microsecond."""

from random import Random

import pytest

from console.evaluation.backtest.lessons import Lessons
from console.evaluation.backtest.past import Past
from console.evaluation.backtest.replay import Replay
from console.evaluation.backtest.way import Way
from services.worker.recovery import Policy
from tests.unit.console.evaluation.backtest import random_pasts
from tests.unit.console.evaluation.backtest.synthetic import at

UNTIL = at(170)


def both(policy: Policy, pasts: list[Past]) -> tuple[list[Way], list[Way]]:
    """The ways without shortcuts and with them, by invoice."""
    plain, quick = (Replay(policy, Lessons(pasts), shortcuts=each)(pasts) for each in (False, True))
    return sorted(plain, key=_invoice), sorted(quick, key=_invoice)


def _invoice(way: Way) -> str:
    return way.past.failure.invoice


@pytest.mark.parametrize("seed", range(60))
def test_shortcuts_lead_the_same_way_whatever_the_past_and_the_policy(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test has to be repeatable
    pasts = [Past(each, UNTIL) for each in random_pasts.failures(random, 40)]
    for _ in range(2):
        policy = random_pasts.policy(random)
        plain, quick = both(policy, pasts)
        for one, other in zip(plain, quick, strict=True):
            assert one == other, policy.model_dump_json(exclude_defaults=True)
