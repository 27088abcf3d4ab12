"""The queue's throughput: drain, steady work, an old snapshot, WAL and commits, memory."""

import asyncio
import statistics
import sys
import time
from datetime import timedelta
from typing import Any

import asyncpg

from benchmarks import limit
from benchmarks.measure import Measure
from benchmarks.peers import graphile
from benchmarks.queueing import FILL, answer, counts, drained, fill, process, worker
from benchmarks.scale import Scale
from benchmarks.server import Server, connected

BATCH = 500
ACTIVITY = """
SELECT pg_current_wal_lsn() AS lsn, pg_stat_get_db_xact_commit(oid) AS commits
FROM pg_database WHERE datname = current_database()
"""
STILL_WAITS = "SELECT status = 'pending' FROM scheduled_tasks WHERE id = $1"
DEAD_ROWS = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'scheduled_tasks'"
WAL_BETWEEN = "SELECT pg_wal_lsn_diff($1::pg_lsn, $2::pg_lsn)"


async def _activity(url: str) -> asyncpg.Record:
    async with connected(url) as db:
        await asyncio.sleep(1.1)  # backends report their commits once a second
        row = await db.fetchrow(ACTIVITY)
        assert row is not None
        return row


async def _drain_ours(server: Server, count: int) -> dict[str, Any]:
    url = await server.fresh()
    await fill(url, count)
    before = await _activity(url)
    done = await drained(url, count)
    after = await _activity(url)
    async with connected(url) as db:
        done["wal"] = int(await db.fetchval(WAL_BETWEEN, after["lsn"], before["lsn"])) / count
    done["commits"] = (after["commits"] - before["commits"]) / count
    assert await counts(url) == {"succeeded": count}
    await server.drop(url)
    return done


async def _drain_limit(server: Server, count: int) -> float:
    url = await server.fresh()
    await fill(url, count)
    tps = await limit.pgbench(server, url, limit.cycle(BATCH, insert=False), "-t", str(count // BATCH // limit.CLIENTS))
    assert await counts(url) == {"succeeded": count}, "the limit did other work"
    await server.drop(url)
    return tps * BATCH


async def _drain_python(server: Server, peer: str, count: int) -> float:
    url = await server.fresh(migrated=False)
    async with process(sys.executable, "-m", "benchmarks.peers.python_queues", peer, url, str(count)) as started:
        done = await answer(started, 900)
    assert done["handled"] == count, done
    await server.drop(url)
    return count / float(done["seconds"])


async def drain(server: Server, scale: Scale) -> list[Measure]:
    """No-op tasks queued beforehand, one process; competitors take turns, the median of the rounds counts."""
    ours: list[dict[str, Any]] = []
    rates: dict[str, list[float]] = {"limit (pgbench)": [], "pgqueuer": [], "procrastinate": []}
    why_not = await graphile.missing()
    if why_not is None:
        rates["graphile-worker"] = []
    else:
        print(f"graphile-worker is skipped: {why_not}")
    for _ in range(scale.rounds):
        ours.append(await _drain_ours(server, scale.drain))
        rates["limit (pgbench)"].append(await _drain_limit(server, scale.drain))
        rates["pgqueuer"].append(await _drain_python(server, "pgqueuer", scale.drain))
        if why_not is None:
            rates["graphile-worker"].append(await graphile.drained(server, scale.drain))
    rates["procrastinate"].append(await _drain_python(server, "procrastinate", scale.slow_peer))
    value = statistics.median(scale.drain / done["seconds"] for done in ours)
    baselines = {name: statistics.median(found) for name, found in rates.items()}
    met = value >= 0.6 * baselines["limit (pgbench)"] and value >= 2.5 * baselines["pgqueuer"]
    met = met and value >= 1.3 * baselines.get("graphile-worker", 0)
    verdict = None if scale.quick else met
    target = ">= 1.3 x graphile-worker, >= 2.5 x PGQueuer, >= 60 % of the limit"
    detail = {"tasks": scale.drain, "batch": BATCH, "cpu_seconds": [done["cpu"] for done in ours]}
    detail["seconds_to_the_last_start"] = [done["reached"] for done in ours]
    detail["ratios"] = {name: value / rate for name, rate in baselines.items()}
    wal = statistics.median(done["wal"] for done in ours)
    commits = statistics.median(done["commits"] for done in ours)
    ratio = value / baselines["limit (pgbench)"]
    return [
        Measure("drain", value, "tasks/s", target, baselines, ratio, verdict, detail),
        Measure("wal_per_task", wal / 1024, "KiB", "<= 1.5 KiB", met=wal <= 1536),
        Measure("commits_per_task", commits, "commits", "<= 0.05", met=commits <= 0.05),
    ]


async def _produce(url: str, seconds: float) -> int:
    """Insert batches for so long, about 20 batches before the worker; how many tasks.

    The worker's progress is read from one row by its key, because counting pending tasks would walk over dead rows.
    """
    async with connected(url) as db:
        await db.execute("SET jit = off")
        made, ends = 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            if await db.fetchval(STILL_WAITS, made - 19 * BATCH):
                await asyncio.sleep(0.005)
                continue
            await db.execute(FILL, made, made + BATCH - 1, 1000, timedelta(0), False)
            made += BATCH
        return made


async def _steady(server: Server, seconds: float, *, held: bool = False) -> dict[str, Any]:
    """Insert, claim and complete for so long; `held`: beside an idle REPEATABLE READ transaction."""
    url = await server.fresh()
    await fill(url, BATCH)
    async with connected(url) as other:
        if held:
            await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            await other.fetchval("SELECT count(*) FROM scheduled_tasks")
        async with worker(url, seconds=seconds) as started:
            await answer(started, 30)
            made = await _produce(url, seconds)
            done = await answer(started, seconds + 60)
    async with connected(url) as db:
        dead = int(await db.fetchval(DEAD_ROWS))
    found = await counts(url)
    assert found["succeeded"] == done["handled"], (found, done["handled"])
    assert sum(found.values()) == made + BATCH, (found, made)
    await server.drop(url)
    return {"rate": done["handled"] / done["seconds"], "dead": dead, "made": made, "cpu": done["cpu"]}


async def steady(server: Server, scale: Scale) -> list[Measure]:
    """Insert + claim + complete at the same time, and the same cycle by pgbench."""
    ours = await _steady(server, scale.steady_seconds)
    url = await server.fresh()
    await fill(url, BATCH)
    script = limit.cycle(BATCH, insert=True)
    tps = await limit.pgbench(server, url, script, "-T", str(int(min(scale.steady_seconds, 60))))
    await server.drop(url)
    bound = tps * BATCH
    ratio = ours["rate"] / bound
    # Each task has two updates, and each leaves a dead row; vacuum removes most, so fewer than the tasks are left.
    detail = {"seconds": scale.steady_seconds, "dead_rows": ours["dead"], "tasks": ours["made"]}
    met = None if scale.quick else ratio >= 0.6 and ours["dead"] < ours["made"]
    baselines = {"limit (pgbench)": bound}
    return [Measure("steady", ours["rate"], "tasks/s", ">= 60 % of the limit", baselines, ratio, met, detail)]


async def snapshot(server: Server, scale: Scale) -> list[Measure]:
    """Steady work beside an idle REPEATABLE READ transaction, divided by the same without."""
    without = await _steady(server, scale.snapshot_seconds)
    beside = await _steady(server, scale.snapshot_seconds, held=True)
    ratio = beside["rate"] / without["rate"]
    met = None if scale.quick else ratio >= 0.95
    detail = {"seconds": scale.snapshot_seconds, "dead_rows": beside["dead"], "dead_rows_without": without["dead"]}
    baselines = {"without": without["rate"]}
    return [Measure("old_snapshot", beside["rate"], "tasks/s", ">= 0.95", baselines, ratio, met, detail)]


async def memory(server: Server, scale: Scale) -> list[Measure]:
    """The worker's resident memory after many tasks, divided by that after a fifth of them."""
    url = await server.fresh()
    await fill(url, scale.memory)
    done = await drained(url, scale.memory)
    await server.drop(url)
    at_a_fifth = next(rss for count, rss in done["rss"] if count >= scale.memory / 5) / 2**20
    end = done["rss_end"] / 2**20
    met = None if scale.quick else end <= at_a_fifth * 1.1
    baselines = {"after a fifth": at_a_fifth}
    detail = {"tasks": scale.memory}
    return [Measure("worker_memory", end, "MiB", "flat (<= 1.1)", baselines, end / at_a_fifth, met, detail)]
