"""The durable intake, compared with a transaction per request, with no database, and with bare aiohttp."""

import asyncio
import statistics
import sys
from typing import Any

import orjson

from benchmarks.measure import Measure
from benchmarks.queueing import answer, process
from benchmarks.scale import Scale
from benchmarks.server import Server, connected
from benchmarks.traffic import EVENT_BYTES

KINDS = ("group", "transaction", "no-database", "bare")
CONNECTIONS = 64

CONNECT = """
INSERT INTO merchants (stripe_connect_id, access_token, livemode)
SELECT 'acct_bench_' || n, 'sealed', false FROM generate_series(0, 199) AS n
"""
TAKEN = """
SELECT
    (SELECT count(*) FROM processed_events) AS events,
    (SELECT count(*) FROM recoveries) AS recoveries,
    (SELECT count(*) FROM scheduled_tasks) AS tasks,
    (SELECT count(*) FROM usage_logs) AS booked,
    (SELECT sum(failed_count) FROM merchant_totals) AS totals
"""


async def _run(url: str, kind: str, seconds: float, *, failures: int, first: int) -> dict[str, Any]:
    order = orjson.dumps({"url": url, "kind": kind}).decode()
    async with process(sys.executable, "-m", "benchmarks.ingress_server", order) as server:
        port = (await answer(server, 30))["port"]
        assert server.stdout is not None
        reading = asyncio.create_task(_drop(server.stdout))
        load = {"port": port, "failures": failures, "connections": CONNECTIONS}
        for part, length in (("warm", 1.0), ("measured", seconds)):
            given = orjson.dumps({**load, "seconds": length, "first": first}).decode()
            async with process(sys.executable, "-m", "benchmarks.traffic", given) as traffic:
                sent = await answer(traffic, length + 60)
            assert set(sent["statuses"]) == {"200"}, (kind, part, sent["statuses"])
            first += sent["sent"]
        server.terminate()
        assert await asyncio.wait_for(server.wait(), 30) == 0
        await reading
    return {**sent, "next": first}


async def _drop(log: asyncio.StreamReader) -> None:
    while await log.read(2**16):
        pass


async def _compare(server: Server, scale: Scale, failures: int) -> dict[str, list[dict[str, Any]]]:
    url = await server.fresh()
    async with connected(url) as db:
        await db.execute(CONNECT)
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    first, durable = 0, 0
    for _ in range(scale.rounds):
        for kind in KINDS:
            ran = await _run(url, kind, scale.intake_seconds, failures=failures, first=first)
            if kind in {"group", "transaction"}:
                durable += ran["next"] - first
            first = ran["next"]
            found[kind].append(ran)
    async with connected(url) as db:
        taken = await db.fetchrow(TAKEN)
        assert taken is not None
        # Every answered event is in the database, once, with its effects.
        assert taken["events"] == durable, (dict(taken), durable)
        assert taken["recoveries"] == taken["tasks"] == taken["booked"] == taken["totals"], dict(taken)
    await server.drop(url)
    return found


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return float(statistics.median(run[name] for run in runs))


async def intake(server: Server, scale: Scale) -> list[Measure]:
    """64 connections, one process; competitors take turns."""
    measures = []
    for failures, name in ((25, "intake"), (100, "intake_failures_only")):
        found = await _compare(server, scale, failures)
        value, p50, p99 = (_median(found["group"], what) for what in ("rate", "p50_ms", "p99_ms"))
        baselines = {kind: _median(found[kind], "rate") for kind in KINDS[1:]}
        over, share = value / baselines["transaction"], value / baselines["no-database"]
        detail = {"p50_ms": p50, "p99_ms": p99, "p99_over_p50": p99 / p50, "over_one_transaction": over}
        detail |= {"share_of_no_database": share, "share_of_bare": value / baselines["bare"]}
        detail |= {"event_bytes": EVENT_BYTES, "failures_percent": failures, "connections": CONNECTIONS}
        met = None if scale.quick else over >= 3 and share >= 0.55 and p99 <= 5 * p50
        target = ">= 3 x one transaction per request, >= 55 % without a database, p99 <= 5 x p50"
        measures.append(Measure(name, value, "events/s", target, baselines, share, met, detail))
    return measures
