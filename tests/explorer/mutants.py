"""Broken builds: each lacks the rule against one kind of fault, by an exact change of text, and must be found out.

The edits are as in `tests/chaos/mutants.py`. A mutant is played in the mood that has more of what needs the rule, until
a check that is named here finds something, or the time is used up.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.chaos.mutants import Edit, copy_with

SECONDS = 240
_PATIENCE_S = SECONDS + 400.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """A missing rule. `kind`: of the list of faults in docs/reliability.md; `checks`: those that may catch it."""

    name: str
    kind: int
    missing: str
    mood: str
    checks: tuple[str, ...]
    edits: tuple[Edit, ...]
    seed: int = 1


MUTANTS: tuple[Mutant, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a mutant. `caught`: the findings of its checks; empty: it was not caught."""

    mutant: Mutant
    caught: tuple[str, ...]
    worlds: int
    seconds: float


def try_out(mutant: Mutant) -> Verdict:
    """Play worlds of its mood until one of its checks finds something that the unbroken build has not."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="citadel-mutant-") as folder:
        tree, report = Path(folder) / "tree", Path(folder) / "report.json"
        tree.mkdir()
        copy_with(mutant.edits, tree)
        arguments = ["--seed", str(mutant.seed), "--mood", mutant.mood, "--seconds", str(SECONDS), "--no-shrink"]
        stops = [part for check in mutant.checks for part in ("--until", check)]
        ended = subprocess.run(
            [sys.executable, "-m", "tests.explorer", *arguments, *stops, "--report", str(report)],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        if not report.exists():
            raise RuntimeError(f"{mutant.name}: the run did not come to its end:\n{ended.stdout}\n{ended.stderr}")
        told = orjson.loads(report.read_bytes())
    caught = tuple(name for name in told["kinds"] if name.split(":", 1)[0] in mutant.checks)
    return Verdict(mutant, caught, told["worlds"], time.monotonic() - began)


def run_all(names: Sequence[str] | None) -> int:
    """Try the mutants of these names, or all; the exit status is 1 when one was not caught."""
    chosen = [mutant for mutant in MUTANTS if names is None or mutant.name in names]
    escaped = []
    print(f"{'mutant':<28} {'kind':>4} {'worlds':>6} {'s':>5}  caught by")
    for mutant in chosen:
        verdict = try_out(mutant)
        caught = "; ".join(verdict.caught) or "NOTHING"
        print(f"{mutant.name:<28} {mutant.kind:>4} {verdict.worlds:>6} {verdict.seconds:>5.0f}  {caught}", flush=True)
        if not verdict.caught:
            escaped.append(mutant.name)
    print(f"{len(chosen) - len(escaped)} of {len(chosen)} mutants were caught")
    return 1 if escaped else 0
