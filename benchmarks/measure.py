"""One measured number beside its baselines and its target; tables, JSON and charts of them."""

import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import orjson
import psutil
from rich.console import Console
from rich.table import Table

mpl.use("Agg")

import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of `latest.json`.

    `ratio` is the one that `target` speaks of; `met=None`: the target is not one that this run can tell about (a quick
    run, or nothing to compare with). `detail` is what else was seen.
    """

    name: str
    value: float
    unit: str
    target: str
    baselines: dict[str, float] = field(default_factory=dict)
    ratio: float | None = None
    met: bool | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def machine() -> dict[str, Any]:
    """What the numbers were measured on, without names: cores, memory rounded to whole GiB, system."""
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def write(measures: list[Measure], conditions: dict[str, Any]) -> None:
    """Print the table; write `latest.json` (a list of measures), `conditions.json`, and a chart per measure."""
    RESULTS.mkdir(exist_ok=True)
    rows = [{**asdict(measure), "conditions": conditions} for measure in measures]
    (RESULTS / "latest.json").write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")
    table = Table("measure", "value", "baselines", "ratio", "target", "met", title=_line(conditions))
    for measure in measures:
        baselines = "\n".join(f"{name}: {value:,.4g}" for name, value in measure.baselines.items())
        met = {True: "yes", False: "NO", None: "-"}[measure.met]
        ratio = "" if measure.ratio is None else f"{measure.ratio:.2f}"
        table.add_row(measure.name, f"{measure.value:,.4g} {measure.unit}", baselines, ratio, measure.target, met)
        _chart(measure, conditions)
    Console(width=150).print(table)


def _line(conditions: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in conditions.items())


def _chart(measure: Measure, conditions: dict[str, Any]) -> None:
    bars = {"citadel": measure.value, **measure.baselines}
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.5 * len(bars)))
    places = axes.barh(list(bars), list(bars.values()), color=["#1f5fbf"] + ["#b8c0cc"] * (len(bars) - 1))
    axes.bar_label(places, fmt="{:,.4g}", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(measure.unit)
    axes.set_title(f"{measure.name} (target {measure.target})", fontsize=10)
    figure.text(0.01, 0.01, _line(conditions), fontsize=5)
    figure.tight_layout()
    figure.savefig(RESULTS / f"{measure.name}.png", dpi=110)
    plt.close(figure)
