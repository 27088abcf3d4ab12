"""What PostgreSQL can do with the same statements, batch sizes and durability, and no engine: pgbench, one client.

pgbench keeps the ids of a claim in its variables and hands them to the completion. The statements are the product's
own, from `shared.tasks`; the claim looks into all lanes from their beginning, as a worker's first claim does.
"""

import asyncio
import re
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from benchmarks.queueing import FILL, process
from benchmarks.server import Server
from shared import tasks
from shared.lanes import LANES

CLAIM_ARGUMENTS = {
    1: "'limit'",
    2: "{batch}",
    3: "'30 seconds'",
    4: "(SELECT array_agg(n) FROM generate_series(0, %d) AS n)" % (LANES - 1),
    5: "array_fill('-infinity'::timestamptz, ARRAY[%d])" % LANES,
    6: "array_fill(0, ARRAY[%d])" % LANES,
    7: "{batch}",
}


def _bound(statement: str, arguments: dict[int, str]) -> str:
    text = re.sub(r"--[^\n]*", "", statement)
    return re.sub(r"\$(\d+)", lambda found: arguments[int(found[1])], text).strip()


def cycle(batch: int, *, insert: bool) -> str:
    """A pgbench script: (insert a batch,) claim a batch, complete it; each its own commit."""
    claim = _bound(tasks.CLAIM, {n: text.format(batch=batch) for n, text in CLAIM_ARGUMENTS.items()})
    complete = _bound(tasks.COMPLETE_MANY, {1: ":ids", 2: ":fences"})
    lines = []
    if insert:
        steps = {1: "1", 2: str(batch), 3: "1000", 4: "interval '-1 second'", 5: "false"}
        lines.append(_bound(FILL, steps) + ";")
    # The same statement; of its rows only the ids and fences, as arrays, because that is what pgbench can keep.
    parts, _, _ = claim.partition("\nSELECT *, ")
    kept = "SELECT coalesce(array_agg(id), '{}') AS ids, coalesce(array_agg(fence), '{}') AS fences FROM claimed"
    lines += [f"{parts}\n{kept} \\gset", complete + ";"]
    return "\n".join(lines) + "\n"


async def pgbench(server: Server, url: str, script: str, *arguments: str) -> float:
    """Run a script with one client; the seconds that it took."""
    parts = urlsplit(url)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cycle.sql"
        await asyncio.to_thread(file.write_text, script)
        started = time.monotonic()
        command = [str(server.bin_dir / "pgbench"), "-n", "-M", "prepared", "-c", "1", "-f", str(file), *arguments]
        command += ["-h", str(parts.hostname), "-p", str(parts.port), "-U", str(parts.username), parts.path[1:]]
        environment = {"PGPASSWORD": unquote(parts.password or ""), "PGOPTIONS": "-c jit=off"}
        async with process(*command, env=environment, stderr=asyncio.subprocess.PIPE) as run:
            out, err = await asyncio.wait_for(run.communicate(), 1800)
            if run.returncode:
                raise RuntimeError(f"pgbench ended with {run.returncode}: {err.decode()[-600:]}")
        lines = [line for line in out.decode().splitlines() if line.startswith("tps")]
        return float(lines[0].split()[2]) if lines else time.monotonic() - started
