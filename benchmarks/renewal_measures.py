"""Real handlers against the simulator, with every call taking 20 ms: evaluations, then attempts and messages."""

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson

from benchmarks.measure import Measure
from benchmarks.queueing import answer, process, worker
from benchmarks.scale import Scale
from benchmarks.server import Server, connected
from shared import recovery_opening
from shared.clock import travel_to
from shared.database import Database
from shared.money import Money
from shared.recovery_model import Entry, EntryKind, FailedInvoice
from simulator import SimulatorClient

LATENCY_MS = 20
ACCOUNTS = 200
LATER = timedelta(days=10)
MOST_SECONDS = 300

DONE = "SELECT count(*) FROM scheduled_tasks WHERE status = 'succeeded'"
LEFT = """
SELECT count(*) FROM scheduled_tasks WHERE status = 'running' OR (status = 'pending' AND run_at <= citadel_now())
"""
WRONG = "SELECT count(*) FROM scheduled_tasks WHERE status = 'dead'"
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bench-worker'"
ATTEMPTS = "SELECT count(*) FROM attempts WHERE origin = 'citadel' AND finished_at IS NOT NULL"


async def _populate(control: SimulatorClient, url: str, count: int) -> None:
    accounts = [(await control.add_account(connected=True))["id"] for _ in range(min(ACCOUNTS, max(1, count // 10)))]
    async with connected(url) as db:
        ids = {
            account: await db.fetchval(
                "INSERT INTO merchants (stripe_connect_id, access_token, livemode) VALUES ($1, 'sealed', false)"
                " RETURNING id::text",
                account,
            )
            for account in accounts
        }
    entry = Entry(EntryKind.OPENED, "renewal_failed", "The renewal's payment failed.")
    async with Database.open(url, None, size=2) as database:
        for start in range(0, count, 100):
            failures: list[tuple[FailedInvoice, Entry]] = []
            for number in range(start, min(start + 100, count)):
                account = accounts[number % len(accounts)]
                made: dict[str, Any] = await control.add_renewal(account, card={"decline": "insufficient_funds"})
                invoice, subscription, customer = made["invoice"], made["subscription"], made["customer"]
                amount = Money(invoice["amount_due"], invoice["currency"])
                failed = FailedInvoice(ids[account], invoice["id"], subscription["id"], customer["id"], amount)
                failures.append((failed, entry))
            async with database.transaction() as db:
                await recovery_opening.open_recoveries(db, failures)


async def _work_off(db: "asyncpg.Connection[asyncpg.Record]", started: float) -> tuple[float, int]:
    """Wait until nothing is due: tasks per second, and the most connections of the worker that were seen."""
    before, most = int(await db.fetchval(DONE)), 0
    while await db.fetchval(LEFT):
        assert time.monotonic() - started < MOST_SECONDS, "the worker does not come to an end"
        most = max(most, int(await db.fetchval(CONNECTIONS)))
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - started
    assert await db.fetchval(WRONG) == 0, "tasks died"
    return (int(await db.fetchval(DONE)) - before) / seconds, most


async def renewals(server: Server, scale: Scale) -> list[Measure]:
    """Load, perform, commit, by one worker process: first evaluations of failed renewals, then those ten days later."""
    url = await server.fresh()
    start = int(time.time())
    async with process(sys.executable, "-m", "simulator", "--start", str(start)) as simulator:
        assert simulator.stdout is not None
        base = orjson.loads(await simulator.stdout.readline())["url"]
        async with SimulatorClient(base) as control, connected(url) as db:
            await travel_to(db, datetime.fromtimestamp(start, UTC))
            await _populate(control, url, scale.renewals)
            await control.add_fault("slow", path="/v1/*", latency_ms=LATENCY_MS)
            async with worker(url, seconds=900, real=True, simulator=base, concurrency=200, connections=9) as started:
                await answer(started, 60)
                looks, most = await _work_off(db, time.monotonic())
                later = start + int(LATER.total_seconds())
                await control.advance(to=later)
                calls = len(await control.requests())
                began = time.monotonic()
                await travel_to(db, datetime.fromtimestamp(later, UTC))
                rest, most_later = await _work_off(db, began)
            attempts = int(await db.fetchval(ATTEMPTS))
            calls = len(await control.requests()) - calls
    await server.drop(url)
    assert attempts > scale.renewals / 2, f"{attempts} attempts were made of {scale.renewals} renewals"
    connections = max(most, most_later)
    target = ">= 500/s, <= 10 connections"
    detail: dict[str, Any] = {"connections": connections, "latency_ms": LATENCY_MS, "renewals": scale.renewals}

    def met(rate: float) -> bool | None:
        return None if scale.quick else rate >= 500 and connections <= 10

    return [
        Measure("real_evaluations", looks, "tasks/s", target, {}, None, met(looks), detail),
        Measure(
            "real_attempts",
            rest,
            "tasks/s",
            target,
            {},
            None,
            met(rest),
            {**detail, "attempts": attempts, "calls": calls},
        ),
    ]
