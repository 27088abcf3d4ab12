"""Several worlds: how near a strategy comes to the clairvoyant in each, on average and at worst.

Regret is what the clairvoyant has paid more, in points of all failures. Everything here leaves out what is beyond the
rules: a payment by an attempt against a rule, or after the policy's window, which no strategy under the policy could
have. So the clairvoyant is never below a world's best ladder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from console.evaluation.ladders import LADDERS
from console.evaluation.report import CAUTION, of_possible
from console.evaluation.seeds import all_as_json
from console.evaluation.simulate import Simulation
from console.evaluation.worlds import World

WORST: Final = 5
_LADDERS: Final = frozenset(each.name for each in LADDERS)


@dataclass(frozen=True, slots=True)
class Played:
    """A world and its simulations, one for each seed, with the same strategies and the clairvoyant."""

    world: World
    simulations: Sequence[Simulation]

    @property
    def strategies(self) -> list[str]:
        """The strategies' names: neither the ladders nor the clairvoyant."""
        first = self.simulations[0]
        return [name for name in first.tallies if name not in _LADDERS and name != first.clairvoyant]

    @property
    def possible(self) -> float:
        """The share that the clairvoyant has paid."""
        return sum(each.possible for each in self.simulations) / len(self.simulations)

    @property
    def best_ladder(self) -> str:
        """The name of the ladder with the largest paid share within the rules."""
        return max((name for name in self.simulations[0].tallies if name in _LADDERS), key=self.share)

    def share(self, name: str) -> float:
        """A strategy's paid share, within the rules."""
        return sum(each.tallies[name].within for each in self.simulations) / len(self.simulations)

    def attempts(self, name: str) -> float:
        """A strategy's attempts per failure."""
        failures = sum(each.failures for each in self.simulations)
        return sum(each.tallies[name].attempts for each in self.simulations) / failures

    def of_possible(self, name: str) -> float:
        """A strategy's share of what could be had; 1 where nothing could."""
        return self.share(name) / self.possible if self.possible else 1.0


@dataclass(frozen=True, slots=True)
class Summary:
    """A strategy over all worlds. Regret and lead are shares of all failures; `below`: the share of worlds in which it
    has less paid than the world's best ladder."""

    of_possible: float
    worst_of_possible: float
    regret: float
    worst_regret: float
    lead: float
    worst_lead: float
    below: float
    attempts: float
    breaches: int

    @classmethod
    def of(cls, worlds: Sequence[Played], name: str) -> "Summary":
        """Of a strategy that was played in all of them. Raises ValueError without worlds."""
        parts = [each.of_possible(name) for each in worlds]
        regrets = [each.possible - each.share(name) for each in worlds]
        leads = [each.share(name) - each.share(each.best_ladder) for each in worlds]
        return cls(
            _mean(parts),
            min(parts),
            _mean(regrets),
            max(regrets),
            _mean(leads),
            min(leads),
            _mean([lead < 0 for lead in leads]),
            _mean([each.attempts(name) for each in worlds]),
            sum(simulation.tallies[name].breaches for each in worlds for simulation in each.simulations),
        )

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values."""
        return {name: round(getattr(self, name), 5) for name in self.__slots__}


def worst(worlds: Sequence[Played], name: str) -> list[Played]:
    """The worlds in which a strategy gets the smallest share of what could be had, the worst first."""
    return sorted(worlds, key=lambda each: each.of_possible(name))[:WORST]


def worlds_as_json(worlds: Sequence[Played]) -> dict[str, Any]:
    """Every world's figures, and each strategy's over all worlds."""
    names = worlds[0].simulations[0].tallies
    first = next(iter(names))
    return {
        "strategies": {name: Summary.of(worlds, name).as_json() for name in names},
        "worst_of_first": [each.world.name for each in worst(worlds, first)],
        "worlds": {
            each.world.name: {"about": each.world.about, "best_ladder": each.best_ladder}
            | all_as_json(each.simulations)
            for each in worlds
        },
    }


def show_worlds(worlds: Sequence[Played], console: Console, *, each_one: bool) -> None:
    """The tables. `each_one`: also a row for each world; otherwise only for the worst."""
    simulations = [simulation for each in worlds for simulation in each.simulations]
    played = sum(each.failures * len(each.tallies) for each in simulations)
    speed = played / sum(each.seconds for each in simulations)
    seeds = len(worlds[0].simulations)
    console.print(
        f"\n{len(worlds)} worlds, {simulations[0].failures:,} failed renewals in each"
        f"{f' for each of {seeds} seeds' if seeds > 1 else ''}, each under every strategy "
        f"({speed:,.0f} recoveries a second of one core)\n",
        highlight=False,
    )
    first = worlds[0].strategies[0]
    if each_one:
        console.print(_rows(worlds), highlight=False)
        console.print()
    console.print(_summaries(worlds), highlight=False)
    console.print(
        "of possible: of what the clairvoyant has paid; regret: what it has paid more, in points of all failures;\n"
        "lead: over the best ladder of each world; below: in so many worlds. Left out of all: payments by attempts\n"
        "against a rule, or after the policy's window.\n",
        style="dim",
        highlight=False,
    )
    if not each_one:
        console.print(f"the worst for {first}:", highlight=False)
        console.print(_rows(worst(worlds, first)), highlight=False)
        console.print()
        for each in worst(worlds, first):
            console.print(f"  {each.world.name}: {each.world.about}", highlight=False, soft_wrap=True)
    console.print(CAUTION, style="dim", highlight=False)


def _rows(worlds: Sequence[Played]) -> Table:
    names = worlds[0].strategies
    table = Table(box=None, pad_edge=False)
    table.add_column("paid", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
        table.add_column("of possible", justify="right")
    table.add_column("best ladder", no_wrap=True)
    for column in ("clairvoyant", "attempts", "ladder's"):
        table.add_column(column, justify="right")
    for each in worlds:
        best = each.best_ladder
        shown = [(f"{each.share(name):.1%}", of_possible(each.share(name), each.possible)) for name in names]
        table.add_row(
            each.world.name,
            *(cell for cells in shown for cell in cells),
            f"{each.share(best):.1%} {best}",
            f"{each.possible:.1%}",
            f"{each.attempts(names[0]):.2f}",
            f"{each.attempts(best):.2f}",
        )
    return table


def _summaries(worlds: Sequence[Played]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("over all worlds", no_wrap=True)
    for column in ("of possible", "worst", "regret", "worst", "lead", "worst", "below", "attempts", "breaches"):
        table.add_column(column, justify="right")
    for name in worlds[0].simulations[0].tallies:
        found = Summary.of(worlds, name)
        table.add_row(
            name,
            f"{found.of_possible:.1%}",
            f"{found.worst_of_possible:.1%}",
            *(f"{100 * points:.2f}" for points in (found.regret, found.worst_regret)),
            *(f"{100 * points:+.2f}" for points in (found.lead, found.worst_lead)),
            f"{found.below:.0%}",
            f"{found.attempts:.2f}",
            f"{found.breaches:,}",
        )
    return table


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
