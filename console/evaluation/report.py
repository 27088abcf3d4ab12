"""A simulation's results, as tables for people and as JSON for programs."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from console.evaluation.simulate import Simulation, Tally
from services.ledger.calibration.measure import calibration_error

_BAR = 14
CAUTION = (
    "\nThe customers are made up: console/evaluation/README.md has the worlds and what of them is assumed.\n"
    "It compares ways to retry with each other; it does not foretell what a merchant will recover."
)

LEGEND = (
    "of possible: of what the clairvoyant has paid, who knows every fate and keeps the policy's rules. Not in it:\n"
    "beyond, what is paid where it has nothing, by an attempt against a rule or after the policy's window.\n"
)


def as_json(simulation: Simulation) -> dict[str, Any]:
    """The figures as plain values; shares are of all failures, days of those that were paid. `of_possible`: of what the
    clairvoyant has paid; `regret`: how much less of all. What is beyond the rules counts for neither."""
    return {
        "world": simulation.world,
        "seed": simulation.seed,
        "failures": simulation.failures,
        "recoveries_per_second": round(simulation.played_a_second),
        "strategies": _all_figures(simulation.tallies, simulation.clairvoyant),
        "by_cause": {
            cause.value: _all_figures(tallies, simulation.clairvoyant)
            for cause, tallies in sorted(simulation.by_cause.items())
        },
        "first_against": {
            name: {"share": round(each.share, 5), "plus_minus_95": round(each.plus_minus, 5)}
            for name, each in simulation.against.items()
        },
    }


def _all_figures(tallies: Mapping[str, Tally], clairvoyant: str | None) -> dict[str, Any]:
    figures = {name: _figures(tally) for name, tally in tallies.items()}
    if clairvoyant is not None:
        possible = tallies[clairvoyant]
        for name, tally in tallies.items():
            figures[name]["of_possible"] = round(tally.within / possible.share, 5) if possible.paid else None
            figures[name]["regret"] = round(possible.share - tally.within, 5)
            figures[name]["beyond_the_rules"] = tally.beyond
    return figures


def _figures(tally: Tally) -> dict[str, Any]:
    per_failure = 1 / tally.failures if tally.failures else 0.0
    return {
        "failures": tally.failures,
        "paid": tally.paid,
        "paid_share": round(tally.share, 5),
        "paid_by": {"retry": tally.retry, "message": tally.message, "alone": tally.alone},
        "attempts_per_failure": round(tally.attempts * per_failure, 4),
        "messages_per_failure": round(tally.messages * per_failure, 4),
        "rule_breaches": tally.breaches,
        "mean_days_to_payment": round(tally.days / tally.paid, 3) if tally.paid else None,
        "calibration_error": None if (error := calibration_error(tally.predicted)) is None else round(error, 4),
    }


def show(simulation: Simulation, console: Console) -> None:
    """The tables, with a bar for each share."""
    first = next(iter(simulation.tallies))
    console.print(
        f"\n{simulation.failures:,} failed renewals of seed {simulation.seed} in the world {simulation.world}, "
        f"each under every strategy ({simulation.played_a_second:,.0f} recoveries a second of one core)\n",
        highlight=False,
    )
    console.print(_strategies(simulation), highlight=False)
    console.print(LEGEND, style="dim", highlight=False)
    for name, each in simulation.against.items():
        sure = "" if abs(each.share) > each.plus_minus else ": no difference that chance could not make"
        console.print(
            f"  {first} against {name}: {each.share * 100:+.2f} points of paid failures, "
            f"95 % interval ± {each.plus_minus * 100:.2f}{sure}",
            highlight=False,
        )
    console.print()
    console.print(_causes(simulation), highlight=False)
    console.print(CAUTION, style="dim", highlight=False)


def _strategies(simulation: Simulation) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("strategy", no_wrap=True)
    for column in ("paid", "", "of possible", "by retry", "message", "alone", "attempts", "breaches", "beyond", "days"):
        table.add_column(column, justify="left" if column == "" else "right")
    for name, tally in simulation.tallies.items():
        of = max(1, tally.failures)
        table.add_row(
            name,
            f"{tally.share:.1%}",
            "█" * round(_BAR * tally.share),
            of_possible(tally.within, simulation.possible) if simulation.clairvoyant else "-",
            *(f"{count / of:.1%}" for count in (tally.retry, tally.message, tally.alone)),
            f"{tally.attempts / of:.2f}",
            f"{tally.breaches:,}",
            f"{tally.beyond:,}",
            f"{tally.days / tally.paid:.1f}" if tally.paid else "-",
        )
    return table


def of_possible(within: float, possible: float) -> str:
    """The share of what could be had; `within`: what was paid of that, of all failures, as is `possible`."""
    return f"{within / possible:.1%}" if possible else "-"


def _causes(simulation: Simulation) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("paid share, by cause", no_wrap=True)
    table.add_column("failures", justify="right")
    for name in simulation.tallies:
        table.add_column(name, justify="right")
    by_size = sorted(simulation.by_cause.items(), key=lambda item: -next(iter(item[1].values())).failures)
    for cause, tallies in by_size:
        some = next(iter(tallies.values()))
        table.add_row(
            cause.value.replace("_", " "),
            f"{some.failures:,}",
            *(f"{tally.share:.1%}" for tally in tallies.values()),
        )
    return table
