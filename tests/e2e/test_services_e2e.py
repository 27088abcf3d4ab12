"""The services as processes: how they start, how they end, and what happens while their database is away."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import aiohttp
import orjson
import psutil
import pytest

from console.demo.local_target import LocalTarget
from console.demo.travel import Pace, Stuck, Travel
from console.local import LocalStack, LocalStackError, ProcessFailed, StackPlan, embedded, given
from shared.clock import business_now, travel_to
from shared.database import Database, Role
from simulator.client import SimulatorClient
from simulator.webhooks import signature
from tests.e2e.conftest import FREE_PORTS, SETTINGS, Run
from tests.waiting import until

pytestmark = pytest.mark.e2e

NEEDED = {
    "ingress": ["DATABASE_URL", "STRIPE_WEBHOOK_SECRETS"],
    "worker": ["DATABASE_URL", "STRIPE_SECRET_KEY"],
    "ledger": ["DATABASE_URL"],
    "auth": [
        "DATABASE_URL",
        "STRIPE_SECRET_KEY",
        "STRIPE_CLIENT_ID",
        "ENCRYPTION_KEYS",
        "STATE_SECRET",
        "PUBLIC_URL",
    ],
}
DAY = 86_400
STATES = "SELECT state FROM recoveries"


@pytest.mark.parametrize("service", NEEDED)
def test_a_service_without_settings_lists_all_that_is_missing_and_ends_with_2(citadel: Run, service: str) -> None:
    ended = citadel(service)

    assert ended.returncode == 2
    assert [name for name in NEEDED[service] if f"CITADEL_{name}:" not in ended.stderr] == []
    assert "Traceback" not in ended.stderr


async def test_sigterm_ends_every_service_with_0_within_its_grace(stack: LocalStack) -> None:
    assert {service for service, _ in stack.numbered()} == set(Role)
    for service, index in stack.numbered():
        # One that outlasts its grace is killed, and ends with -9.
        assert await stack.stop(service, index) == 0, stack.process(service, index).log_tail()


async def test_a_dead_database_is_a_503_and_costs_no_event_and_no_recovery(
    stack: LocalStack, stripe: SimulatorClient
) -> None:
    server = stack.database.server
    assert server is not None
    account = await _connected(stack, stripe)
    await stripe.add_renewal(account, card={"decline": "insufficient_funds", "clears_in": DAY})
    assert await stripe.drain()
    server.kill()

    assert await _post_event(stack, account) == (503, "2")
    # A renewal fails while nobody can take the event in: the simulator sends it again, as Stripe does.
    await stripe.add_renewal(account, card={"decline": "try_again_later", "clears_in": 3600})
    assert not await stripe.drain(within=0.5)

    await server.start()
    assert await stripe.drain()
    assert (await _post_event(stack, account))[0] == 200
    async with Database.open(stack.database.url, None, size=1) as database:
        await until(lambda: _are(database, {"waiting"}, 2), "both failed renewals wait for their next attempt")
    assert stack.ended_unasked() == []


async def test_a_worker_that_is_killed_loses_nothing(stack: LocalStack, stripe: SimulatorClient) -> None:
    account = await _connected(stack, stripe)
    await stripe.add_fault("slow", latency_ms=1500, path="/v1/invoices*")
    for _ in range(3):
        await stripe.add_renewal(account, card={"decline": "lost_card"})
    async with Database.open(stack.database.url, None, size=1) as database:
        await until(lambda: _some_run(database), "the worker is at work")
        await stack.kill(Role.WORKER)
        with pytest.raises(Stuck, match=r"dunning_retry (running|pending)"):
            await Travel(LocalTarget(stack), stripe, database, Pace(patience_s=0.2)).calm_down()
        await stripe.clear_faults()
        await stack.start(Role.WORKER)

        await until(lambda: _are(database, {"needs_new_method"}, 3), "another worker has done it")


async def test_a_renewal_whose_webhooks_are_lost_is_recovered_all_the_same(
    stack: LocalStack, stripe: SimulatorClient
) -> None:
    account = await _connected(stack, stripe)
    await stripe.configure_webhooks(drop_share=1.0)
    await stripe.add_renewal(account, card={"decline": "insufficient_funds"})
    async with Database.open(stack.database.url, None, size=1) as database:
        async with database.transaction() as db:
            await travel_to(db, await business_now(db) + timedelta(hours=1))
        await stripe.advance(3600)

        await until(lambda: _are(database, {"waiting"}, 1), "the worker has fetched what was not delivered")


async def test_a_process_that_ends_unasked_is_noticed_and_can_be_started_again(stack: LocalStack) -> None:
    ledger = stack.process(Role.LEDGER)
    os.kill(ledger.pid, signal.SIGKILL)
    await ledger.ended()

    assert stack.ended_unasked() == [(Role.LEDGER, 1)]
    with pytest.raises(ProcessFailed, match="ledger-1"):
        stack.fail_if_ended()
    await stack.start(Role.LEDGER)
    assert stack.ended_unasked() == []


async def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        plan = StackPlan(data_dir=tmp_path / "never made", workers=2, ports={Role.WORKER: port - 1})

        with pytest.raises(LocalStackError, match=rf"{port} \(worker\)"):
            async with LocalStack(plan, embedded(None)):
                raise AssertionError("it must not start")
    assert not plan.data_dir.exists()


async def test_a_service_that_does_not_start_is_told_with_the_end_of_its_log(database_url: str, tmp_path: Path) -> None:
    plan = StackPlan(data_dir=tmp_path, settings={**SETTINGS, **FREE_PORTS, "CITADEL_STRIPE_WEBHOOK_SECRETS": "wrong"})

    with pytest.raises(ProcessFailed, match="CITADEL_STRIPE_WEBHOOK_SECRETS") as failed:
        async with LocalStack(plan, given(database_url)):
            raise AssertionError("it must not start")
    assert "ingress-1 ended with status 2" in str(failed.value)
    assert [each for each in psutil.Process().children(recursive=True) if "services." in " ".join(each.cmdline())] == []


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()

    parent.kill()
    parent.communicate()

    assert psutil.wait_procs([child], timeout=10)[1] == []


PARENT = """
import asyncio, os, sys
from pathlib import Path
from console.local.process import Process

async def main():
    folder = Path(sys.argv[1])
    sleeper = [sys.executable, "-c", "import time; print('{}', flush=True); time.sleep(600)"]
    child = Process("sleeper", sleeper, environment=dict(os.environ), directory=folder, log_file=folder / "log")
    await child.start()
    await child.first_json_line(30)
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def _connected(stack: LocalStack, stripe: SimulatorClient) -> str:
    """An account that has connected through auth."""
    account = str((await stripe.add_account())["id"])
    jar = aiohttp.CookieJar(unsafe=True)
    async with (
        aiohttp.ClientSession(cookie_jar=jar) as browser,
        browser.get(f"{stack.url(Role.AUTH)}/auth/stripe") as page,
    ):
        assert page.status == 200, await page.text()
    return account


async def _post_event(stack: LocalStack, account: str) -> tuple[int, str | None]:
    now = int(time.time())
    event = {"id": f"evt_{time.monotonic_ns()}", "type": "invoice.created", "account": account, "created": now}
    body = orjson.dumps(event)
    headers = {"Stripe-Signature": signature(body, "whsec_simulator", now)}
    url = f"{stack.url(Role.INGRESS)}/webhooks/stripe"
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        return answer.status, answer.headers.get("Retry-After")


async def _are(database: Database, states: set[str], count: int) -> bool:
    async with database.transaction() as db:
        found = [row["state"] for row in await db.fetch(STATES)]
    return len(found) == count and set(found) == states


async def _some_run(database: Database) -> bool:
    async with database.transaction() as db:
        return bool(await db.fetchval("SELECT EXISTS (SELECT FROM scheduled_tasks WHERE status = 'running')"))
