"""`python -m benchmarks.peers.python_queues pgqueuer|procrastinate URL COUNT`: a peer drains COUNT tasks."""

import sys
import time
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import uvloop

PAD = "x" * 54


def tell(**what: Any) -> None:
    """One line for whoever started this process."""
    sys.stdout.buffer.write(b"@" + orjson.dumps(what) + b"\n")
    sys.stdout.flush()


async def pgqueuer(url: str, count: int) -> None:
    """PGQueuer: asyncpg, uvloop, batches of 100, mode drain."""
    from pgqueuer import AsyncpgPoolDriver, Job, PgQueuer, Queries
    from pgqueuer.types import QueueExecutionMode

    pool = await asyncpg.create_pool(url, min_size=2, max_size=10)
    driver = AsyncpgPoolDriver(pool)
    queries = Queries(driver)
    await queries.install()
    payload = orjson.dumps({"pad": PAD})
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        await queries.enqueue(["noop"] * size, [payload] * size, [0] * size)
    await pool.execute("VACUUM (ANALYZE)")
    await pool.execute("CHECKPOINT")
    queue, done = PgQueuer(driver), 0

    @queue.entrypoint("noop")
    async def noop(job: Job) -> None:
        nonlocal done
        done += 1

    started = time.monotonic()
    await queue.qm.run(batch_size=100, mode=QueueExecutionMode.drain, dequeue_timeout=timedelta(seconds=1))
    tell(seconds=time.monotonic() - started, handled=done)
    await pool.close()


async def procrastinate(url: str, count: int) -> None:
    """procrastinate: psycopg, 50 concurrent."""
    import procrastinate as library

    app = library.App(connector=library.PsycopgConnector(conninfo=url, min_size=2, max_size=10))
    done = 0

    @app.task(name="noop")
    async def noop(pad: str) -> None:
        nonlocal done
        done += 1

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await noop.batch_defer_async(*({"pad": PAD} for _ in range(count)))
        started = time.monotonic()
        await app.run_worker_async(concurrency=50, wait=False, install_signal_handlers=False)
        tell(seconds=time.monotonic() - started, handled=done)


PEERS = {"pgqueuer": pgqueuer, "procrastinate": procrastinate}

if __name__ == "__main__":
    uvloop.run(PEERS[sys.argv[1]](sys.argv[2], int(sys.argv[3])))
