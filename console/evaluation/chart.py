"""Draws a simulation: the recovered share against the attempts, for each strategy, by cause."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Final

import matplotlib as mpl

from console.evaluation.seeds import attempts, share
from console.evaluation.simulate import Simulation, Tally
from services.worker.recovery import DeclineCause

mpl.use("Agg")

from matplotlib.figure import Figure

_COLUMNS: Final = 4
_MARKERS: Final = "osD^vP*X"
_SPAN: Final = 12.0
"""The y axis covers at least so many percentage points."""


def by_cause(simulations: Sequence[Simulation]) -> dict[str, list[dict[str, Tally]]]:
    """The panels of one world: all failures and then each cause, the most frequent first, with the tallies of each
    seed."""
    sizes: dict[DeclineCause, int] = {}
    for simulation in simulations:
        for cause, tallies in simulation.by_cause.items():
            sizes[cause] = sizes.get(cause, 0) + next(iter(tallies.values())).failures
    by_size = sorted(sizes, key=lambda cause: -sizes[cause])
    return {"all failures": [each.tallies for each in simulations]} | {
        cause.value.replace("_", " "): [each.by_cause[cause] for each in simulations if cause in each.by_cause]
        for cause in by_size
    }


def by_world(worlds: Sequence[Sequence[Simulation]]) -> dict[str, list[dict[str, Tally]]]:
    """The panels of several worlds, with the tallies of each seed."""
    return {simulations[0].world: [each.tallies for each in simulations] for simulations in worlds}


def draw(worlds: Sequence[Sequence[Simulation]], file: Path) -> None:
    """Write the chart of each world's simulations as a PNG, with a mark for each strategy and seed. Raises OSError."""
    first = worlds[0]
    shown = by_cause(first) if len(worlds) == 1 else by_world(worlds)
    rows = ceil(len(shown) / _COLUMNS)
    figure = Figure(figsize=(4.0 * _COLUMNS, 3.4 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False)
    for panel, (title, seeds) in zip(axes.flat, shown.items(), strict=False):
        for number, name in enumerate(first[0].tallies):
            panel.scatter(
                [attempts(tallies[name]) for tallies in seeds],
                [100 * share(tallies[name]) for tallies in seeds],
                marker=_MARKERS[number % len(_MARKERS)],
                color=f"C{number}",
                s=48,
                alpha=0.75,
                label=name,
            )
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("attempts per failed renewal", fontsize=9)
        panel.grid(visible=True, alpha=0.3)
        panel.margins(0.15)
        low, high = panel.get_ylim()  # small differences should look small
        panel.set_ylim(min(low, (low + high) / 2 - _SPAN / 2), max(high, (low + high) / 2 + _SPAN / 2))
    for panel in axes.flat[len(shown) :]:
        panel.set_axis_off()
    figure.supylabel("recovered, % of failed renewals")
    of = f"in the world {first[0].world}, seeds" if len(worlds) == 1 else f"in each of {len(worlds)} worlds, seeds from"
    seeds_played = ", ".join(str(each.seed) for each in first)
    figure.suptitle(f"{first[0].failures:,} made-up failed renewals {of} {seeds_played}")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(file, format="png", dpi=120)
