"""The demo's world elsewhere: another one than the default policy was made for, with a row for everybody."""

from rich.console import Console

from console.demo import elsewhere
from console.evaluation.clairvoyant import Clairvoyant
from console.evaluation.ladders import LADDERS
from console.evaluation.simulate import simulate
from console.evaluation.strategies import Brain, common_ladders
from console.evaluation.worlds import as_made, shipped
from services.worker.recovery import Policy


def test_the_world_is_another_one_and_everybody_has_a_row() -> None:
    world, policy = shipped(elsewhere.WORLD), Policy.default()
    assert world.wages != as_made().wages
    strategies = [Brain(elsewhere.NEW_THERE, policy), *common_ladders(policy)]
    simulation = simulate(strategies, failures=60, seed=1, world=world, clairvoyant=Clairvoyant(policy))
    console = Console(width=110, record=True)
    console.print(elsewhere.told(simulation))
    printed = console.export_text()
    for name in (elsewhere.NEW_THERE, *(each.name for each in LADDERS), "clairvoyant"):
        assert sum(name in line for line in printed.splitlines()) == 1
    ours = simulation.tallies[elsewhere.NEW_THERE]
    assert f"{ours.within / simulation.possible:.1%}" in printed
    assert "100.0%" in printed
