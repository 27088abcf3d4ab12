"""A simulation's results, as tables for people and as JSON for programs."""

from typing import Any

from rich.console import Console
from rich.table import Table

from console.evaluation.simulate import Simulation, Tally

_BAR = 24
CAUTION = (
    "\nThe customers are made up: console/evaluation/README.md has the model and what of it is assumed.\n"
    "It compares ways to retry with each other; it does not foretell what a merchant will recover."
)


def as_json(simulation: Simulation) -> dict[str, Any]:
    """The figures as plain values; shares are of all failures, days of those that were paid."""
    return {
        "seed": simulation.seed,
        "failures": simulation.failures,
        "recoveries_per_second": round(simulation.played_a_second),
        "strategies": {name: _figures(tally) for name, tally in simulation.tallies.items()},
        "by_cause": {
            cause.value: {name: _figures(tally) for name, tally in tallies.items()}
            for cause, tallies in sorted(simulation.by_cause.items())
        },
        "first_against": {
            name: {"share": round(each.share, 5), "plus_minus_95": round(each.plus_minus, 5)}
            for name, each in simulation.against.items()
        },
    }


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
    }


def show(simulation: Simulation, console: Console) -> None:
    """The tables, with a bar for each share."""
    first = next(iter(simulation.tallies))
    console.print(
        f"\n{simulation.failures:,} failed renewals of seed {simulation.seed}, each under every strategy "
        f"({simulation.played_a_second:,.0f} recoveries a second of one core)\n",
        highlight=False,
    )
    console.print(_strategies(simulation), highlight=False)
    console.print()
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
    table.add_column("strategy")
    for column in ("paid", "", "by retry", "by message", "alone", "attempts", "breaches", "messages", "days"):
        table.add_column(column, justify="left" if column == "" else "right")
    for name, tally in simulation.tallies.items():
        of = max(1, tally.failures)
        table.add_row(
            name,
            f"{tally.share:.1%}",
            "█" * round(_BAR * tally.share),
            *(f"{count / of:.1%}" for count in (tally.retry, tally.message, tally.alone)),
            f"{tally.attempts / of:.2f}",
            f"{tally.breaches:,}",
            f"{tally.messages / of:.2f}",
            f"{tally.days / tally.paid:.1f}" if tally.paid else "-",
        )
    return table


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
