"""Makes and counts the benchmarks' tasks, and runs a worker process on them."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson

PAYLOAD_BYTES = 64
_BATCH = 20_000

# {"pad": "xxx…"} of 64 bytes; `n` is the task's number, if numbers are wanted.
FILL = """
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, run_at)
SELECT
    'm' || (n % $3),
    'noop',
    CASE WHEN $5 THEN jsonb_build_object('n', n) ELSE jsonb_build_object('pad', repeat('x', 54)) END,
    citadel_now() + $4::interval
FROM generate_series($1::bigint, $2::bigint) AS n
"""

COUNTS = "SELECT status, count(*) FROM scheduled_tasks GROUP BY 1"


async def fill(
    url: str, count: int, *, merchants: int = 1000, delay: str = "-1 second", numbered: bool = False, first: int = 0
) -> None:
    """Queue no-op tasks of merchants m0, m1, …, due after `delay` (an interval), and analyze the table."""
    from datetime import timedelta

    seconds = timedelta(seconds=float(delay.split(maxsplit=1)[0]))
    connection = await asyncpg.connect(url)
    try:
        for start in range(first, first + count, _BATCH):
            end = min(start + _BATCH, first + count) - 1
            await connection.execute(FILL, start, end, merchants, seconds, numbered, timeout=120)
        await connection.execute("VACUUM (ANALYZE) scheduled_tasks", timeout=600)
        await connection.execute("CHECKPOINT", timeout=120)
    finally:
        await connection.close()


async def counts(url: str) -> dict[str, int]:
    """How many tasks are in each status."""
    connection = await asyncpg.connect(url)
    try:
        return {row[0]: row[1] for row in await connection.fetch(COUNTS)}
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def process(*arguments: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of ours, which ends at the end of the block at the latest."""
    started = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**28,
        **options,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def answer(started: asyncio.subprocess.Process, seconds: float) -> Any:
    """The process's next line of JSON; other lines are skipped."""
    assert started.stdout is not None
    async with asyncio.timeout(seconds):
        async for line in started.stdout:
            if line.startswith(b"@"):
                return orjson.loads(line[1:])
    raise RuntimeError(f"the process ended without an answer: status {await started.wait()}")


@contextlib.asynccontextmanager
async def worker(url: str, **settings: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """`benchmarks.worker` on a database. `settings` are those of its `Order`."""
    order = orjson.dumps({"url": url, **settings}).decode()
    async with process(sys.executable, "-m", "benchmarks.worker", order) as started:
        yield started


async def drained(url: str, count: int, **settings: Any) -> dict[str, Any]:
    """One worker process does `count` tasks; its answer. Raises AssertionError unless each was done exactly once."""
    before = (await counts(url)).get("succeeded", 0)
    async with worker(url, expect=count, **settings) as started:
        await answer(started, 60)  # it is ready
        done: dict[str, Any] = await answer(started, 1800)
        await started.wait()
    after = await counts(url)
    assert done["handled"] >= count, done["handled"]
    assert after.get("succeeded", 0) - before == done["handled"], (after, done["handled"])
    assert after.get("running", 0) == 0, after
    return done
