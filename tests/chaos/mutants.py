"""Broken builds (mutants): each lacks one safeguard, by an exact change of text, and the checks must catch it.

A mutant is a temporary copy of the source tree with its edits. It runs for a short storm of the mood that needs the
safeguard, with one seed after the other until a check finds something. An edit whose text is gone fails: after a change
of the code, say here how the safeguard is broken now.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parents[2]
# `console` starts the servers. Without it, a broken build would take the installed one, of whatever state.
COPIED = ("console", "services", "shared", "simulator", "tests", "pyproject.toml")
SEEDS = (1, 2, 3)
_PATIENCE_S = 240.0


class Stale(Exception):
    """The text that a mutant changes is not in the code exactly once, because the code has changed."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces `old`, which must be in this file exactly once, by `new`."""

    path: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """Change the file. Raises Stale."""
        file = root / self.path
        text = file.read_text()
        if text.count(self.old) != 1:
            raise Stale(f"{self.path} has {text.count(self.old)} times, not once:\n{self.old}")
        file.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True, slots=True)
class Mutant:
    """A missing safeguard. `mood`: the storm that needs it."""

    name: str
    missing: str
    mood: str
    edits: tuple[Edit, ...]
    seconds: float = 25.0


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "no_fence",
        "a completion under an old fence is accepted",
        "sleepers",
        (
            Edit(
                "shared/queue/tasks.py",
                "WHERE t.id = done.id AND t.fence = done.fence AND t.locked_by IS NOT NULL",
                "WHERE t.id = done.id AND done.fence > 0 AND t.locked_by IS NOT NULL",
            ),
        ),
    ),
    Mutant(
        "no_lease_check",
        "a worker that slept through its lease goes on paying",
        "sleepers",
        (
            Edit(
                "services/worker/outside/lease.py",
                "        if not self.held:\n            raise LeaseLost\n",
                "        return\n",
            ),
        ),
    ),
    Mutant(
        "no_row_locks",
        "a recovery is read, settled and stopped without a lock on its row",
        "crossings",
        (
            Edit(
                "services/worker/engine/store.py",
                "= ANY ($1::uuid[]) ORDER BY id FOR UPDATE",
                "= ANY ($1::uuid[]) ORDER BY id",
            ),
            Edit(
                "shared/recoveries.py", "FROM recoveries WHERE id = $1 FOR UPDATE\n", "FROM recoveries WHERE id = $1\n"
            ),
            Edit(
                "shared/recoveries.py",
                'FROM recoveries\nWHERE id = $1\nFOR UPDATE\n"""\n',
                'FROM recoveries\nWHERE id = $1\n"""\n',
            ),
            Edit(
                "shared/recoveries.py",
                "FROM recoveries\nWHERE id = $1\nFOR UPDATE\nRETURNING",
                "FROM recoveries\nWHERE id = $1\nRETURNING",
            ),
            Edit(
                "shared/events/store.py",
                "AND invoice_id = $2 AND closed_at IS NULL\nORDER BY id\nFOR UPDATE\n",
                "AND invoice_id = $2 AND closed_at IS NULL\nORDER BY id\n",
            ),
            Edit(
                "shared/events/store.py",
                "AND subscription_id = $2 AND closed_at IS NULL\nORDER BY id\nFOR UPDATE\n",
                "AND subscription_id = $2 AND closed_at IS NULL\nORDER BY id\n",
            ),
        ),
    ),
    Mutant(
        "early_rescue",
        "tasks are taken from workers whose lease has not run out",
        "sleepers",
        (
            Edit(
                "shared/queue/tasks.py",
                "lease_expires_at < clock_timestamp()\n    ORDER BY id",
                "lease_expires_at < clock_timestamp() + interval '1.5 seconds'\n    ORDER BY id",
            ),
        ),
    ),
    Mutant(
        "running_tasks_are_due",
        "a running task is handed out again",
        "sleepers",
        (
            Edit(
                "shared/queue/tasks.py",
                "WHERE t.status = 'pending'\n            AND NOT t.parked",
                "WHERE t.status IN ('pending', 'running')\n            AND NOT t.parked",
            ),
            Edit(
                "shared/queue/tasks.py",
                "r.recovery_id = t.recovery_id AND r.status = 'running'",
                "r.recovery_id = t.recovery_id AND r.status = 'running' AND r.id <> t.id",
            ),
        ),
    ),
    Mutant(
        "event_before_tasks",
        "an event is committed before what follows from it",
        "intake",
        (
            Edit(
                "shared/events/taking.py",
                "    new = await store.record_events(db, list(rows.values()))\n"
                "    answers: list[Accepted | None] = []\n",
                "    new = await store.record_events(db, list(rows.values()))\n"
                '    await db.execute("COMMIT")\n    await db.execute("BEGIN")\n'
                "    answers: list[Accepted | None] = []\n",
            ),
            Edit(
                "shared/events/taking.py",
                "    if new and outcome is EventOutcome.ROUTED and merchant_id is not None:\n",
                '    await db.execute("COMMIT")\n    await db.execute("BEGIN")\n'
                "    if new and outcome is EventOutcome.ROUTED and merchant_id is not None:\n",
            ),
        ),
    ),
    Mutant(
        "answer_before_commit",
        "the intake answers 200 before its commit",
        "intake",
        (
            Edit(
                "services/ingress/app.py",
                "            accepted = await request.app[INTAKE].accept(event)\n",
                "            __import__('asyncio').ensure_future(request.app[INTAKE].accept(event))\n"
                "            from shared.events.taking import Outcome\n"
                "            accepted = Accepted(Outcome.IGNORED, None, False, None)\n",
            ),
        ),
    ),
    Mutant(
        "asynchronous_commit",
        "commits are answered before they are written (synchronous_commit = off)",
        "intake",
        (
            Edit(
                "shared/database.py",
                'settings["synchronous_commit"] = "on"',
                'settings["synchronous_commit"] = "off"',
            ),
        ),
    ),
    Mutant(
        "new_key_for_each_try",
        "a repeat has another idempotency key",
        "unanswered",
        (
            Edit(
                "services/worker/dunning_retry/collect.py",
                "    return attempt.key\n",
                "    return f\"{attempt.key}:{__import__('time').time_ns()}\"\n",
            ),
        ),
    ),
    Mutant(
        "no_answer_is_a_no",
        "an attempt without an answer counts as failed",
        "unanswered",
        (
            Edit(
                "services/worker/outside/stripe_calls.py",
                "        raise\n    except Refused as refused:\n",
                '        return NotPayable("no_answer")\n    except Refused as refused:\n',
            ),
        ),
    ),
    Mutant(
        "unsettled_is_abandoned",
        "an attempt that must not be repeated is given up without asking Stripe",
        "unanswered",
        (
            Edit(
                "services/worker/dunning_retry/collect.py",
                "    if await stripe_calls.spend_key(client, dossier.invoice_id, _key(attempt), remote.lease):\n",
                "    if remote:\n",
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a mutant. `caught`: check → violations; empty: it was not caught."""

    mutant: Mutant
    caught: dict[str, int]
    seed: int
    kills: int
    seconds: float


def copy_with(edits: Iterable[Edit], into: Path) -> None:
    """The source tree with these edits. Raises Stale."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, into / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
        else:
            shutil.copy2(source, into / name)
    for edit in edits:
        edit.apply(into)


def try_out(mutant: Mutant, seeds: Sequence[int] = SEEDS) -> Verdict:
    """Run it until a check catches it, or the seeds are used up."""
    began, kills, seed = time.monotonic(), 0, seeds[0]
    with tempfile.TemporaryDirectory(prefix="citadel-mutant-") as folder:
        tree, report = Path(folder) / "tree", Path(folder) / "report.json"
        tree.mkdir()
        copy_with(mutant.edits, tree)
        for seed in seeds:
            report.unlink(missing_ok=True)
            arguments = ["--seconds", str(mutant.seconds), "--seed", str(seed), "--mood", mutant.mood]
            ended = subprocess.run(
                [sys.executable, "-m", "tests.chaos", *arguments, "--report", str(report)],
                cwd=tree,
                capture_output=True,
                text=True,
                timeout=_PATIENCE_S,
                check=False,
            )
            if not report.exists():
                raise RuntimeError(
                    f"{mutant.name}: the run did not come to its checks:\n{ended.stdout}\n{ended.stderr}"
                )
            told = orjson.loads(report.read_bytes())
            kills += told["kills"]
            caught = {name: len(found) for name, found in told["problems"].items() if found}
            if caught:
                return Verdict(mutant, caught, seed, kills, time.monotonic() - began)
    return Verdict(mutant, {}, seed, kills, time.monotonic() - began)


def run_all(names: Sequence[str] | None) -> int:
    """Try the mutants of these names, or all; the exit status is 1 when one was not caught."""
    chosen = [mutant for mutant in MUTANTS if names is None or mutant.name in names]
    escaped = []
    print(f"{'mutant':<24} {'caught by':<48} {'seed':>4} {'kills':>5} {'s':>5}")
    for mutant in chosen:
        verdict = try_out(mutant)
        caught = ", ".join(f"{name} ({count})" for name, count in verdict.caught.items()) or "NOTHING"
        print(
            f"{mutant.name:<24} {caught:<48} {verdict.seed:>4} {verdict.kills:>5} {verdict.seconds:>5.0f}", flush=True
        )
        if not verdict.caught:
            escaped.append(mutant.name)
    print(f"{len(chosen) - len(escaped)} of {len(chosen)} mutants were caught")
    return 1 if escaped else 0
