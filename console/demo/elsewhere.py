"""A world that the brain was not made for: the default policy there, beside the ladders and the clairvoyant.

The demo's own customers follow the calendar that the brain believes in most. Here wages come four days later, and are
spent within two days (`console/evaluation/worlds/shipped`): a schedule that is made for one calendar is lost.
"""

from typing import Final

from rich.table import Table

from console.evaluation.clairvoyant import Clairvoyant
from console.evaluation.learning import learn
from console.evaluation.simulate import Simulation, simulate
from console.evaluation.strategies import Brain, common_ladders
from console.evaluation.worlds import shipped
from services.worker.recovery import Policy

WORLD: Final = "wages_4_days_later_stay_2"
FAILURES: Final = 1_500
HISTORY: Final = 1_000
"""Failures that the merchant had before, from which was learned."""
SEED: Final = 7
NEW_THERE: Final = "The Citadel, new there"
LEARNED: Final = f"after {HISTORY:,} failures"


def played() -> Simulation:
    """The world, played under the default policy, under what was learned there, and under the ladders."""
    policy, world = Policy.default(), shipped(WORLD)
    learned = learn(policy, HISTORY, SEED, world).strategy(LEARNED, policy)
    strategies = [Brain(NEW_THERE, policy), learned, *common_ladders(policy)]
    return simulate(strategies, failures=FAILURES, seed=SEED, world=world, clairvoyant=Clairvoyant(policy))


def told(simulation: Simulation) -> Table:
    """What each has paid, of what could be had, and with how many attempts."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("elsewhere: wages 4 days later, gone after 2", no_wrap=True, min_width=18)
    for name in ("paid", "of possible", "attempts each", "rules broken"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, tally in simulation.tallies.items():
        table.add_row(
            name,
            f"{tally.within:.1%}",
            f"{tally.within / simulation.possible:.1%}",
            f"{tally.attempts / tally.failures:.2f}",
            f"{tally.breaches:,}",
            style="bold" if name == NEW_THERE else "",
        )
    return table
