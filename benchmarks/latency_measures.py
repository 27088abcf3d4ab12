"""Latency and fairness: wake-up, fairness, claims on large tables, idle cost."""

import asyncio
import os
import secrets
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import psutil

from benchmarks.measure import Measure
from benchmarks.queueing import FILL, answer, fill, process, worker
from benchmarks.scale import Scale
from benchmarks.server import Server, connected
from benchmarks.wire import SECRET
from console.local.databases import embedded
from console.local.stack import LocalStack, StackPlan
from shared.crypto import KeyRing
from shared.database import Database, Role
from shared.queue import tasks
from shared.queue.lanes import Lanes

LEASE = timedelta(seconds=30)


def quantile(values: list[float], share: float) -> float:
    """The quantile: the value below which this share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def wake_up(server: Server, scale: Scale) -> list[Measure]:
    """From the answer to a COMMIT to the handler's first line, one task at a time, on an idle system."""
    url = await server.fresh()
    await fill(url, 10)
    committed: dict[int, float] = {}
    async with connected(url) as db, worker(url, expect=scale.wakes + 10, concurrency=8) as started:
        await answer(started, 30)
        await asyncio.sleep(2)
        for number in range(scale.wakes):
            await db.execute(FILL, number, number, 1000, timedelta(seconds=-1), True)
            committed[number] = time.monotonic()
            await asyncio.sleep(0.03 + 0.05 * (number % 7) / 7)
        done = await answer(started, 60)
    await server.drop(url)
    waits = [max(0.0, (at - committed[number]) * 1000) for number, at in done["starts"]]
    assert len(waits) == scale.wakes
    p50, p99 = quantile(waits, 0.5), quantile(waits, 0.99)
    detail = {"p50_ms": p50, "p99_ms": p99, "max_ms": max(waits), "tasks": scale.wakes}
    target = "p50 <= 5 ms, p99 <= 25 ms"
    return [
        Measure(
            "wake_up", p50, "ms", target, {"p99": p99}, None, None if scale.quick else p50 <= 5 and p99 <= 25, detail
        )
    ]


async def _wait_of_small(server: Server, each: int, whale: int) -> tuple[float, int]:
    """p99 of the waits, in seconds, of 999 small merchants beside a large one's older tasks; how many had not begun."""
    url = await server.fresh()
    small = 999 * each
    if whale:
        await fill(url, whale, merchants=1, delay="-3600 seconds")  # m0's, all older
    async with connected(url) as db:
        # Merchants m1 … m999; numbered, so that their starts are noted.
        await db.execute(
            FILL.replace("(n % $3)", "(1 + n % $3)"), 0, small - 1, 999, timedelta(seconds=-1), True, timeout=120
        )
        await db.execute("VACUUM (ANALYZE) scheduled_tasks", timeout=600)
    async with worker(url, expect=small + whale // 4, concurrency=32) as started:
        await answer(started, 30)
        done = await answer(started, 900)
    await server.drop(url)
    waits = [at - done["started"] for _, at in done["starts"]]
    # Merchants that share the large one's lane wait behind it: their tasks had not begun when a quarter of its backlog
    # was done, and count as infinite waits. If these are more than one in a hundred, the p99 is infinite.
    late = small - len(waits)
    assert late < small / 100 or not whale, (late, small)
    assert whale or not late, (late, small)
    return quantile([*waits, *[float("inf")] * late], 0.99), late


async def fairness(server: Server, scale: Scale) -> list[Measure]:
    """999 small merchants beside one with a large backlog that is older than all their tasks."""
    each = 2 if scale.quick else 10
    without, _ = await _wait_of_small(server, each, 0)
    beside, late = await _wait_of_small(server, each, scale.whale)
    ratio = beside / without
    met = None if scale.quick else ratio <= 1.5
    detail = {"whale": scale.whale, "tasks_of_each_small": each, "behind_the_whale": late}
    return [Measure("fairness", beside, "s", "<= 1.5", {"without the whale": without}, ratio, met, detail)]


async def _claim_times(server: Server, rows: int) -> tuple[float, float]:
    """p50 and p99 of claims of 10 tasks, in ms, with 45 % of the rows finished, 45 % in the future, the rest due."""
    url = await server.fresh()
    step = rows // 20
    async with connected(url) as db:
        for delay, count, done in ((-7200, 9 * step, True), (86_400, 9 * step, False), (-60, 2 * step, False)):
            for start in range(0, count, 100_000):
                size = min(100_000, count - start)
                await db.execute(FILL, start, start + size - 1, 1000, timedelta(seconds=delay), False, timeout=600)
                if done:
                    await db.execute(
                        "UPDATE scheduled_tasks SET status = 'succeeded', finished_at = now() WHERE status = 'pending'",
                        timeout=600,
                    )
        await db.execute("VACUUM (ANALYZE) scheduled_tasks", timeout=1800)
        await db.execute("CHECKPOINT", timeout=600)
    lanes, took, found = Lanes(), list[float](), 0
    async with Database.open(url, Role.WORKER, size=1) as database, database.statement() as claiming:
        for _ in range(min(300, step // 10)):
            started = time.perf_counter()
            claimed = await tasks.claim(claiming, "bench", 10, LEASE, lanes)
            took.append((time.perf_counter() - started) * 1000)
            assert len(claimed) <= 10, len(claimed)  # a claim may find its lanes empty; the next one scans others
            found += len(claimed)
            assert len(await tasks.complete_many(claiming, claimed)) == len(claimed)
    assert found >= len(took), (found, len(took))
    await server.drop(url)
    return quantile(took[5:], 0.5), quantile(took[5:], 0.99)


async def flatness(server: Server, scale: Scale) -> list[Measure]:
    """The claim's p99 on a large table divided by that on a small one; each measured twice, in turns."""
    few, many = scale.flat_rows
    small = [await _claim_times(server, few)]
    middle, big = await _claim_times(server, many)
    small.append(await _claim_times(server, few))
    bound = sum(p99 for _, p99 in small) / 2
    ratio = big / bound
    met = None if scale.quick else ratio <= 1.2
    detail = {"rows": many, "small_rows": few, "p50_ms": middle, "small_p50_ms": sum(p50 for p50, _ in small) / 2}
    return [Measure("claim_p99", big, "ms", "<= 1.2", {f"{few:,} rows": bound}, ratio, met, detail)]


COMMITS = "SELECT pg_stat_get_db_xact_commit(oid) FROM pg_database WHERE datname = current_database()"


async def _idle_queries(server: Server, seconds: float) -> float:
    url = await server.fresh()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CITADEL_")}
    environment |= {
        "CITADEL_DATABASE_URL": url,
        "CITADEL_WORKER_PORT": "0",
        "CITADEL_STRIPE_SECRET_KEY": "sk_test_benchmark",
        "CITADEL_STRIPE_API_BASE": "http://127.0.0.1:9",
        "CITADEL_LOG_LEVEL": "ERROR",
    }
    async with (
        connected(url) as db,
        process(sys.executable, "-m", "services.worker", env=environment, stderr=asyncio.subprocess.DEVNULL) as idle,
    ):
        await asyncio.sleep(8)
        before = await db.fetchval(COMMITS)
        await asyncio.sleep(seconds)
        after = await db.fetchval(COMMITS)
        assert idle.returncode is None, "the worker ended"
    await server.drop(url)
    return float(after - before - 1) / seconds


async def idle(server: Server, scale: Scale) -> list[Measure]:
    """The cost of an idle worker, and of four idle services."""
    queries = await _idle_queries(server, scale.idle_seconds)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        settings = {
            "CITADEL_STRIPE_WEBHOOK_SECRETS": SECRET,
            "CITADEL_ENCRYPTION_KEYS": f"bench:{KeyRing.generate()}",
            "CITADEL_STATE_SECRET": secrets.token_urlsafe(48),
            "CITADEL_STRIPE_SECRET_KEY": "sk_test_benchmark",
            "CITADEL_STRIPE_CLIENT_ID": "ca_benchmark",
            "CITADEL_STRIPE_API_BASE": "http://127.0.0.1:9",
            "CITADEL_STRIPE_CONNECT_BASE": "http://127.0.0.1:9",
        }
        plan = StackPlan(home / "stack", settings=settings)
        async with LocalStack(plan, embedded(home / "data")):
            services = [
                child
                for child in psutil.Process().children(recursive=True)
                if any(f"services.{role.service}" in " ".join(child.cmdline()) for role in Role)
            ]
            assert len(services) >= 4, services
            await asyncio.sleep(5)
            before = sum(sum(each.cpu_times()[:2]) for each in services)
            await asyncio.sleep(scale.idle_seconds)
            cpu = (sum(sum(each.cpu_times()[:2]) for each in services) - before) / scale.idle_seconds * 100
    met = None if scale.quick else queries <= 5
    return [
        Measure("idle_queries", queries, "queries/s", "<= 5/s", met=met),
        Measure("idle_cpu", cpu, "% of a core", "< 1 % (four services)", met=None if scale.quick else cpu < 1),
    ]
