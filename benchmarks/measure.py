"""A measured number with its baselines and its target; tables, JSON and charts."""

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
LATEST = RESULTS / "latest.json"


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of `latest.json`.

    `ratio` is the ratio that `target` is about; `met=None`: this run cannot tell (a quick run, or nothing to compare
    with). `detail` has other observations.
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
    """The machine, without its name: cores, memory rounded to whole GiB, system."""
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def keep(measures: list[Measure], conditions: dict[str, Any]) -> None:
    """Write them into `latest.json`, where each replaces an earlier one of the same name, and draw a chart of each."""
    RESULTS.mkdir(exist_ok=True)
    rows = {row["name"]: row for row in _kept()}
    for measure in measures:
        rows[measure.name] = {**asdict(measure), "conditions": conditions}
        _chart(measure, conditions)
    LATEST.write_bytes(orjson.dumps(list(rows.values()), option=orjson.OPT_INDENT_2) + b"\n")


def _kept() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = orjson.loads(LATEST.read_bytes()) if LATEST.exists() else []
    return rows


def show(measures: list[Measure], conditions: dict[str, Any]) -> None:
    """Print the table."""
    table = Table("measure", "value", "baselines", "ratio", "target", "met", title=_line(conditions))
    for measure in measures:
        baselines = "\n".join(f"{name}: {value:,.4g}" for name, value in measure.baselines.items())
        met = {True: "yes", False: "NO", None: "-"}[measure.met]
        ratio = "" if measure.ratio is None else f"{measure.ratio:.2f}"
        table.add_row(measure.name, f"{measure.value:,.4g} {measure.unit}", baselines, ratio, measure.target, met)
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
