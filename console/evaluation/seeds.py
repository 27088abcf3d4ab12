"""Several simulations with different seeds: means and ranges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from console.evaluation.report import CAUTION, LEGEND, as_json, of_possible
from console.evaluation.simulate import Simulation, Tally

_BAR: Final = 18


@dataclass(frozen=True, slots=True)
class Range:
    """One figure over the seeds."""

    mean: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range":
        """Raises ValueError without values."""
        return cls(sum(values) / len(values), min(values), max(values))

    def as_json(self) -> dict[str, float]:
        """Rounded like the figures of one seed."""
        return {"mean": round(self.mean, 5), "lowest": round(self.lowest, 5), "highest": round(self.highest, 5)}


def over_seeds(simulations: Sequence[Simulation], name: str, figure: Callable[[Tally], float]) -> Range:
    """A strategy's figure over the simulations."""
    return Range.of([figure(each.tallies[name]) for each in simulations])


def share(tally: Tally) -> float:
    """The paid share of all failures."""
    return tally.share


def attempts(tally: Tally) -> float:
    """Attempts per failure."""
    return tally.attempts / max(1, tally.failures)


def _within(tally: Tally) -> float:
    return tally.within


def _possible(simulations: Sequence[Simulation]) -> Range:
    return Range.of([each.possible for each in simulations])


def played_a_second(simulations: Sequence[Simulation]) -> float:
    """Recoveries played per second of one core, over all seeds."""
    played = sum(each.failures * len(each.tallies) for each in simulations)
    return played / sum(each.seconds for each in simulations)


def all_as_json(simulations: Sequence[Simulation]) -> dict[str, Any]:
    """Every seed's figures, and their ranges; of a single simulation only its figures."""
    if len(simulations) == 1:
        return as_json(simulations[0])
    first = simulations[0]
    return {
        "world": first.world,
        "seeds": [each.seed for each in simulations],
        "recoveries_per_second": round(played_a_second(simulations)),
        "strategies": {
            name: {
                "paid_share": over_seeds(simulations, name, share).as_json(),
                "attempts_per_failure": over_seeds(simulations, name, attempts).as_json(),
                "rule_breaches": sum(each.tallies[name].breaches for each in simulations),
                **_against_possible(simulations, name),
            }
            for name in first.tallies
        },
        "first_against": {
            name: Range.of([each.against[name].share for each in simulations]).as_json() for name in first.against
        },
        "simulations": [as_json(each) for each in simulations],
    }


def _against_possible(simulations: Sequence[Simulation], name: str) -> dict[str, Any]:
    if any(each.clairvoyant is None or not each.possible for each in simulations):
        return {}
    shares = [(each.tallies[name].within, each.possible) for each in simulations]
    return {
        "of_possible": Range.of([own / possible for own, possible in shares]).as_json(),
        "regret": Range.of([possible - own for own, possible in shares]).as_json(),
        "beyond_the_rules": sum(each.tallies[name].beyond for each in simulations),
    }


def show_all(simulations: Sequence[Simulation], console: Console) -> None:
    """The tables over all seeds."""
    first = simulations[0]
    seeds = ", ".join(str(each.seed) for each in simulations)
    console.print(
        f"\n{first.failures:,} failed renewals of each of the seeds {seeds} in the world {first.world}, each under "
        f"every strategy ({played_a_second(simulations):,.0f} recoveries a second of one core).\n"
        "Means over the seeds, and from the lowest to the highest.\n",
        highlight=False,
    )
    console.print(_strategies(simulations), highlight=False)
    console.print(LEGEND, style="dim", highlight=False)
    for name in first.against:
        lead = Range.of([each.against[name].share for each in simulations])
        plus_minus = max(each.against[name].plus_minus for each in simulations)
        console.print(
            f"  {next(iter(first.tallies))} against {name}: {lead.mean * 100:+.2f} points of paid failures "
            f"({lead.lowest * 100:+.2f} to {lead.highest * 100:+.2f}; one seed's ± {plus_minus * 100:.2f})",
            highlight=False,
        )
    console.print()
    console.print(_causes(simulations), highlight=False)
    console.print(CAUTION, style="dim", highlight=False)


def _strategies(simulations: Sequence[Simulation]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("strategy")
    for column in ("paid", "", "range", "of possible", "attempts", "range", "breaches", "beyond"):
        table.add_column(column, justify="left" if column == "" else "right")
    for name in simulations[0].tallies:
        paid, tries = over_seeds(simulations, name, share), over_seeds(simulations, name, attempts)
        table.add_row(
            name,
            f"{paid.mean:.1%}",
            "█" * round(_BAR * paid.mean),
            f"{paid.lowest:.1%} to {paid.highest:.1%}",
            of_possible(over_seeds(simulations, name, _within).mean, _possible(simulations).mean)
            if all(each.clairvoyant for each in simulations)
            else "-",
            f"{tries.mean:.2f}",
            f"{tries.lowest:.2f} to {tries.highest:.2f}",
            *(f"{sum(counts):,}" for counts in zip(*_outside(simulations, name), strict=True)),
        )
    return table


def _outside(simulations: Sequence[Simulation], name: str) -> list[tuple[int, int]]:
    """Breaches, and payments beyond the rules, of each seed."""
    return [(each.tallies[name].breaches, each.tallies[name].beyond) for each in simulations]


def _causes(simulations: Sequence[Simulation]) -> Table:
    first = simulations[0]
    table = Table(box=None, pad_edge=False)
    table.add_column("paid share, by cause", no_wrap=True)
    table.add_column("failures", justify="right")
    for name in first.tallies:
        table.add_column(name, justify="right")
    # A rare cause may be missing from a small simulation.
    causes = dict.fromkeys(cause for each in simulations for cause in each.by_cause)
    found_of = {cause: [each.by_cause[cause] for each in simulations if cause in each.by_cause] for cause in causes}
    rows = [
        (cause, sum(next(iter(tallies.values())).failures for tallies in found), found)
        for cause, found in found_of.items()
    ]
    for cause, failures, found in sorted(rows, key=lambda row: -row[1]):
        means = (Range.of([tallies[name].share for tallies in found]).mean for name in first.tallies)
        table.add_row(cause.value.replace("_", " "), f"{failures:,}", *(f"{mean:.1%}" for mean in means))
    return table
