"""The limit: what PostgreSQL does with the same statements, batches and durability, without an engine (pgbench).

With two clients, because the product claims and completes on two connections at the same time, and the machine has two
cores. The sessions have the worker's settings.

pgbench keeps the ids of a claim in its variables and passes them to the completion. The statements are the product's
own, from `shared.queue.tasks`; the claim scans all lanes from their beginning, as a worker's first claim does.
"""

import asyncio
import re
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from benchmarks.queueing import FILL, process
from benchmarks.server import Server
from shared.database import WORKER_PLANS
from shared.queue import tasks
from shared.queue.lanes import LANES

CLIENTS = 2
_OPTIONS = " ".join(f"-c {name}={value}" for name, value in {"jit": "off", **WORKER_PLANS}.items())

CLAIM_ARGUMENTS = {
    1: "'limit'",
    2: "{batch}",
    3: "'30 seconds'",
    4: f"(SELECT array_agg(n) FROM generate_series(0, {LANES - 1}) AS n)",
    5: f"array_fill('-infinity'::timestamptz, ARRAY[{LANES}])",
    6: f"array_fill(0::bigint, ARRAY[{LANES}])",
    7: "{batch}",
}


def bound(statement: str, arguments: dict[int, str]) -> str:
    text = re.sub(r"--[^\n]*", "", statement)
    return re.sub(r"\$(\d+)", lambda found: arguments[int(found[1])], text).strip()


def cycle(batch: int, *, insert: bool, claim: str = tasks.CLAIM, complete: str = tasks.COMPLETE_MANY) -> str:
    """A pgbench script: (insert a batch,) claim a batch, complete it; one commit each."""
    claiming = bound(claim, {n: text.replace("{batch}", str(batch)) for n, text in CLAIM_ARGUMENTS.items()})
    lines = []
    if insert:
        steps = {1: "1", 2: str(batch), 3: "1000", 4: "interval '-1 second'", 5: "false"}
        lines.append(bound(FILL, steps) + ";")
    # The same statement, but only ids and fences of its rows, as arrays, which pgbench can keep in variables.
    parts, _, _ = claiming.partition("\nSELECT *")
    kept = "SELECT coalesce(array_agg(id), '{}') AS ids, coalesce(array_agg(fence), '{}') AS fences FROM claimed"
    lines += [f"{parts}\n{kept} \\gset", bound(complete, {1: ":ids", 2: ":fences"}) + ";"]
    return "\n".join(lines) + "\n"


async def pgbench(server: Server, url: str, script: str, *arguments: str) -> float:
    """Run a script with `CLIENTS` clients; returns runs per second. `-t` in the arguments is per client."""
    parts = urlsplit(url)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cycle.sql"
        await asyncio.to_thread(file.write_text, script)
        started = time.monotonic()
        command = [
            str(server.bin_dir / "pgbench"),
            "-n",
            "-M",
            "prepared",
            "-c",
            str(CLIENTS),
            "-f",
            str(file),
            *arguments,
        ]
        command += ["-h", str(parts.hostname), "-p", str(parts.port), "-U", str(parts.username), parts.path[1:]]
        environment = {"PGPASSWORD": unquote(parts.password or ""), "PGOPTIONS": _OPTIONS}
        async with process(*command, env=environment, stderr=asyncio.subprocess.PIPE) as run:
            out, err = await asyncio.wait_for(run.communicate(), 1800)
            if run.returncode:
                raise RuntimeError(f"pgbench ended with {run.returncode}: {err.decode()[-600:]}")
        lines = [line for line in out.decode().splitlines() if line.startswith("tps")]
        return float(lines[0].split()[2]) if lines else time.monotonic() - started
