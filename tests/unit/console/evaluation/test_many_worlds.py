"""Over several worlds: shares of what could be had, regret, and leads over each world's best ladder."""

import pytest

from console.evaluation.clairvoyant import CLAIRVOYANT
from console.evaluation.many_worlds import Played, Summary, worst
from console.evaluation.simulate import Simulation, Tally
from console.evaluation.worlds import as_made

STRIPE, KILL_BILL = "stripe 8 in 14 days", "kill bill 8-8-8"


def played(name: str, *seeds: tuple[int, int, int, int]) -> Played:
    """A world with 100 failures of each seed: how many ours, the two ladders and the clairvoyant have paid."""
    simulations = [
        Simulation(
            number,
            100,
            1.0,
            {
                who: Tally(failures=100, retry=paid, attempts=2 * paid, breaches=number)
                for who, paid in zip(("ours", STRIPE, KILL_BILL, CLAIRVOYANT), paid_by, strict=True)
            },
            {},
            {},
            name,
            CLAIRVOYANT,
        )
        for number, paid_by in enumerate(seeds)
    ]
    return Played(as_made().model_copy(update={"name": name}), simulations)


WORLDS = [
    played("good", (60, 50, 55, 60), (50, 40, 45, 60)),
    played("bad", (30, 40, 35, 50)),
    played("none", (0, 0, 0, 0)),
]


def test_the_best_ladder_is_that_of_the_world() -> None:
    assert [each.best_ladder for each in WORLDS[:2]] == [KILL_BILL, STRIPE]
    assert WORLDS[0].strategies == ["ours"]


def test_a_summary_has_means_and_the_worst() -> None:
    found = Summary.of(WORLDS[:2], "ours")
    assert (found.of_possible, found.worst_of_possible) == pytest.approx(((55 / 60 + 30 / 50) / 2, 30 / 50))
    assert (found.regret, found.worst_regret) == pytest.approx(((0.05 + 0.20) / 2, 0.20))
    assert (found.lead, found.worst_lead) == pytest.approx(((0.05 - 0.10) / 2, -0.10))
    assert (found.below, found.attempts) == pytest.approx((0.5, (1.1 + 0.6) / 2))
    assert found.breaches == 1


def test_where_nothing_can_be_had_nothing_is_missing() -> None:
    assert Summary.of(WORLDS[2:], "ours").of_possible == 1


def test_the_worst_worlds_come_first() -> None:
    assert [each.world.name for each in worst(WORLDS, "ours")] == ["bad", "good", "none"]
