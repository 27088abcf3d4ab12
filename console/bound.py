"""`citadel bound`."""

from typing import Annotated

import typer

from console.evaluation.bound.measure import measure
from console.evaluation.bound.report import as_json, show
from console.evaluation.worlds.prior import DESIGN, HELD_OUT
from console.terminal import print_json, terminal

WORLDS = 300
LEARNED = 20
HISTORY = 1_000
PRICES = [0.03, 0.01, 0.003, 0.001, 0.0]


def bound(
    seed: Annotated[int, typer.Option(help=f"The first world's, {DESIGN.start} to {DESIGN.stop - 1}.")] = 0,
    worlds: Annotated[int, typer.Option(min=1, max=len(DESIGN), help="So many small worlds.")] = WORLDS,
    learned: Annotated[
        int, typer.Option(min=0, max=len(DESIGN), help="In so many of them our planner learns, too (4 s each).")
    ] = LEARNED,
    history: Annotated[
        int, typer.Option(min=0, max=100_000, help="Failures that it learns from; 0: it does not.")
    ] = HISTORY,
    price: Annotated[
        list[float], typer.Option(min=0, max=0.5, help="What an attempt costs, in payments. Several: a curve.")
    ] = PRICES,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """What nobody can exceed who does not know the customer, in small worlds; and what our planner reaches there."""
    if seed in HELD_OUT:
        raise typer.BadParameter(
            f"{seed} is held out, for the last measurement: give one of {DESIGN.start} to {DESIGN.stop - 1}",
            param_hint="--seed",
        )
    if seed not in DESIGN:
        raise typer.BadParameter(
            f"{seed} is no seed to design by: give one of {DESIGN.start} to {DESIGN.stop - 1}", param_hint="--seed"
        )
    prices = sorted({*price}, reverse=True)
    try:
        bounds = measure(seed, worlds, min(learned, worlds), history, prices)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--worlds") from None
    if json:
        print_json({"seed": seed, "prices": prices} | as_json(bounds))
    else:
        show(bounds, terminal(120))
