"""graphile-worker: batches of 500 by its local queue, completions in batches. Skipped where Node or npm is missing."""

import asyncio
import os
import shutil
from pathlib import Path

from benchmarks.queueing import answer, process
from benchmarks.server import Server, connected

VERSION = "0.18.0"
_HERE = Path(__file__).parent
_HOME = _HERE.parent.parent / ".citadel" / "graphile-worker"

ADD = """
SELECT count(*)
FROM graphile_worker.add_jobs(ARRAY(
    SELECT ROW('noop', json_build_object('pad', repeat('x', 54)), NULL, now(), NULL, NULL, NULL, NULL)
        ::graphile_worker.job_spec
    FROM generate_series(1, $1::int)
))
"""

LEFT = "SELECT count(*) FROM graphile_worker._private_jobs"


async def missing() -> str | None:
    """Install it; why it cannot run, or None."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "Node or npm is missing"
    if not (_HOME / "node_modules" / "graphile-worker").is_dir():
        _HOME.mkdir(parents=True, exist_ok=True)
        (_HOME / "package.json").write_text('{"private": true}\n')
        command = ("npm", "install", "--silent", "--no-audit", "--no-fund", f"graphile-worker@{VERSION}")
        async with process(*command, cwd=_HOME) as npm:
            await asyncio.wait_for(npm.communicate(), 180)
            if npm.returncode:
                return "npm could not install graphile-worker"
    return None


def _environment() -> dict[str, str]:
    return {**os.environ, "GRAPHILE_HOME": str(_HOME), "NODE_ENV": "production"}


async def drained(server: Server, count: int) -> float:
    """Tasks per second; `count` were queued beforehand."""
    url = await server.fresh(migrated=False)
    cli = str(_HOME / "node_modules" / "graphile-worker" / "dist" / "cli.js")
    async with process("node", cli, "-c", url, "--schema-only", env=_environment()) as schema:
        await asyncio.wait_for(schema.communicate(), 60)
    async with connected(url) as db:
        for start in range(0, count, 10_000):
            await db.fetchval(ADD, min(10_000, count - start))
        await db.execute("VACUUM (ANALYZE)")
        await db.execute("CHECKPOINT")
    async with process("node", str(_HERE / "graphile.mjs"), url, str(count), env=_environment()) as node:
        done = await answer(node, 600)
    async with connected(url) as db:
        assert await db.fetchval(LEFT) == 0
    await server.drop(url)
    return count / float(done["seconds"])
