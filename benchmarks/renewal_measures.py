"""Real handlers: evaluations of failed renewals, with every call to the simulator taking 20 ms."""

import asyncio
import sys
import time
from typing import Any

from benchmarks.measure import Measure
from benchmarks.queueing import answer, process, worker
from benchmarks.scale import Scale
from benchmarks.server import Server, connected
from shared import recoveries
from shared.database import Database
from shared.money import Money
from shared.recoveries import Entry, FailedInvoice
from simulator import SimulatorClient

LATENCY_MS = 20
ACCOUNTS = 200
DONE = "SELECT count(*) FROM scheduled_tasks WHERE task_type = 'dunning_retry' AND attempts > 0 AND status <> 'running'"
WRONG = "SELECT count(*) FROM scheduled_tasks WHERE status = 'dead'"
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bench-worker'"


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
    entry = Entry("opened", "renewal_failed", "The renewal's payment failed.")
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
                await recoveries.open_recoveries(db, failures)


async def renewals(server: Server, scale: Scale) -> list[Measure]:
    """Load, perform against the simulator, commit: evaluations per second of one worker process."""
    url = await server.fresh()
    async with process(sys.executable, "-m", "simulator") as simulator:
        assert simulator.stdout is not None
        import orjson

        base = orjson.loads(await simulator.stdout.readline())["url"]
        async with SimulatorClient(base) as control:
            await _populate(control, url, scale.renewals)
            await control.add_fault("slow", path="/v1/*", latency_ms=LATENCY_MS)
            async with (
                connected(url) as db,
                worker(url, seconds=600, real=True, simulator=base, concurrency=200, connections=8) as started,
            ):
                await answer(started, 30)
                began, most = time.monotonic(), 0
                while await db.fetchval(DONE) < scale.renewals and time.monotonic() - began < 300:
                    most = max(most, await db.fetchval(CONNECTIONS))
                    await asyncio.sleep(0.05)
                seconds = time.monotonic() - began
                assert await db.fetchval(WRONG) == 0, "tasks died"
                assert await db.fetchval(DONE) >= scale.renewals, "not every renewal was evaluated"
            calls = len(await control.requests())
    await server.drop(url)
    value = scale.renewals / seconds
    met = None if scale.quick else value >= 500 and most <= 10
    detail = {"connections": most, "latency_ms": LATENCY_MS, "calls_per_task": calls / scale.renewals}
    return [Measure("real_handlers", value, "tasks/s", ">= 500/s, <= 10 connections", {}, None, met, detail)]
