"""The stack is broken on purpose, under load, and comes back by itself with nothing lost and nothing twice."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import asyncpg
import pytest

from console.demo.compose_target import WEBHOOKS, Edge
from console.demo.connect import connect_all
from shared.events.routing import ROUTES
from simulator.client import SimulatorClient
from tests.compose.conftest import OURS, Deployed, free_port
from tests.waiting import until, wait_until

KILL = "import os,signal,sys\nfor p in os.listdir('/proc'):\n  if p.isdigit() and int(p) not in (1, os.getpid()): "

# A look is a call to the engine, and Docker itself looks at a container's health every few seconds.
LOOK_EVERY_S = 0.2


@dataclass(slots=True)
class Shop:
    """A connected merchant of the stack, whose renewals fail."""

    deployed: Deployed
    simulator: SimulatorClient
    account: str

    async def query(self, statement: str, *arguments: Any) -> Any:
        """One value, by the owner of the database."""
        url = self.deployed.secret("owner_database_url")
        host = self.deployed.address(self.deployed.container("postgres"))
        connection = await asyncpg.connect(url.replace("@postgres:", f"@{host}:"), timeout=10)
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    async def fail_renewals(self, count: int) -> None:
        """So many renewals fail for good, each of which is one dunning_retry that reads and decides."""
        for _ in range(count):
            await self.simulator.add_renewal(self.account, card={"decline": "lost_card"})

    async def quiet(self) -> bool:
        """Whether all events are in and no task is due or running."""
        return await self.simulator.drain(within=1) and not await self.query(
            "SELECT EXISTS (SELECT FROM scheduled_tasks WHERE status = 'running'"
            " OR (status = 'pending' AND run_at <= citadel_now()))"
        )

    async def nothing_is_lost_or_twice(self) -> None:
        """Every event is recorded, every failed renewal has one recovery, nothing is charged twice."""
        deliveries = [each for each in await self.simulator.deliveries() if each["account"] == self.account]
        assert [each["event"] for each in deliveries if each["first_2xx"] is None] == []
        recorded = "SELECT count(*) FROM processed_events WHERE event_id = ANY($1)"
        assert await self.query(recorded, [each["event"] for each in deliveries]) == len(deliveries) > 0
        assert (await self.simulator.summary())["double_charged"] == []
        failed = {
            each["invoice"]
            for each in await self.simulator.attempts()
            if each["source"] == "renewal" and each["outcome"] != "succeeded" and each["account"] == self.account
        }
        recoveries = "SELECT count(*) FROM recoveries WHERE invoice_id = ANY($1)"
        assert await self.query(recoveries, list(failed)) == len(failed) > 0
        assert await self.query("SELECT count(*) FROM scheduled_tasks WHERE status = 'dead'") == 0


@pytest.fixture
async def shop(deployed: Deployed) -> AsyncIterator[Shop]:
    async with SimulatorClient(f"http://127.0.0.1:{deployed.stack.simulator_port}") as simulator:
        # As patient as Stripe, which brings an event again for three days.
        # What the story before has set about late and double ones is over.
        shares = {"duplicate_share": 0, "twin_share": 0, "late_share": 0, "shuffle": False}
        await simulator.configure_webhooks(url=WEBHOOKS, types=sorted(ROUTES), max_attempts=1000, **shares)
        account = (await simulator.add_account(currency="eur"))["id"]
        await connect_all(Edge(deployed.stack), 1, lambda: None)
        yield Shop(deployed, simulator, account)
        await simulator.clear_faults()


def _kill(deployed: Deployed, service: str, signal: str) -> None:
    """Signal the service's own process from inside; Docker's init, process 1, goes with it when it ends."""
    code = f"{KILL}os.kill(int(p), signal.{signal})"
    deployed.python(service, code)


def _is_healthy(deployed: Deployed, service: str) -> bool:
    return deployed.health(service) == "healthy"


def _restarts(deployed: Deployed, service: str) -> int:
    count: int = deployed.container(service).attrs["RestartCount"]
    return count


@pytest.mark.parametrize("service", OURS)
async def test_kill_9_inside_a_container_restarts_it(deployed: Deployed, service: str) -> None:
    before = _restarts(deployed, service)
    _kill(deployed, service, "SIGKILL")
    wait_until(lambda: _restarts(deployed, service) > before, f"{service} is started again", pause_s=LOOK_EVERY_S)
    wait_until(lambda: deployed.health(service) == "healthy", f"{service} is healthy again", pause_s=LOOK_EVERY_S)


async def test_a_worker_whose_loop_is_stuck_is_unhealthy(deployed: Deployed) -> None:
    _kill(deployed, "worker", "SIGSTOP")
    wait_until(lambda: deployed.health("worker") == "unhealthy", "the stuck worker is unhealthy", pause_s=LOOK_EVERY_S)
    _kill(deployed, "worker", "SIGCONT")
    wait_until(lambda: deployed.health("worker") == "healthy", "the worker is healthy again", pause_s=LOOK_EVERY_S)


async def _claimed(deployed: Deployed, container: Any) -> float:
    """How many tasks a worker has claimed since its start."""
    url = f"http://{deployed.address(container)}:8004/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    return sum(float(found) for found in re.findall(r"^citadel_tasks_claimed_total\{.*\} (\S+)$", text, re.MULTILINE))


async def test_three_workers_share_the_load_and_two_of_them_leave(shop: Shop) -> None:
    deployed = shop.deployed
    deployed.stack.run("up", "--detach", "--wait", "--no-build", "--no-recreate", "--scale", "worker=3", "worker")
    workers = deployed.containers("worker")
    assert len(workers) == 3
    before = [await _claimed(deployed, worker) for worker in workers]
    await shop.simulator.add_fault("slow", latency_ms=300, path="/v1/invoices*")
    await shop.fail_renewals(150)
    await until(shop.quiet, "the load is done", pause_s=LOOK_EVERY_S)
    after = [await _claimed(deployed, worker) for worker in workers]
    assert all(now > then for now, then in zip(after, before, strict=True)), (before, after)

    load = asyncio.create_task(shop.fail_renewals(60))
    scale = ("up", "--detach", "--no-build", "--no-recreate", "--scale", "worker=1", "worker")
    await asyncio.to_thread(deployed.stack.run, *scale)
    await load
    await until(shop.quiet, "the load is done by the one that is left", pause_s=LOOK_EVERY_S)
    assert len(deployed.containers("worker", all_of_them=True)) == 1
    await shop.nothing_is_lost_or_twice()


async def _some_task_runs(shop: Shop) -> bool:
    running: bool = await shop.query("SELECT EXISTS (SELECT FROM scheduled_tasks WHERE status = 'running')")
    return running


async def test_tasks_of_a_killed_container_are_rescued(shop: Shop) -> None:
    await shop.simulator.add_fault("slow", latency_ms=3000, path="/v1/invoices*")
    await shop.fail_renewals(5)
    await until(lambda: _some_task_runs(shop), "the worker is at work", pause_s=LOOK_EVERY_S)
    shop.deployed.container("worker").kill()  # by Docker, which does not start it again
    await shop.simulator.clear_faults()
    assert await _some_task_runs(shop)
    shop.deployed.container("worker").start()
    await until(shop.quiet, "the tasks are rescued and done", pause_s=LOOK_EVERY_S)
    await shop.nothing_is_lost_or_twice()


async def test_sigterm_lets_a_worker_finish_within_its_grace(shop: Shop) -> None:
    await shop.simulator.add_fault("slow", latency_ms=2000, path="/v1/invoices*")
    await shop.fail_renewals(3)
    await until(lambda: _some_task_runs(shop), "the worker is at work", pause_s=LOOK_EVERY_S)
    worker = shop.deployed.container("worker")
    await asyncio.to_thread(worker.stop, timeout=35)
    state = shop.deployed.container("worker").attrs["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    assert not await _some_task_runs(shop)
    await shop.simulator.clear_faults()
    worker.start()
    await until(shop.quiet, "the rest is done", pause_s=LOOK_EVERY_S)
    await shop.nothing_is_lost_or_twice()


async def test_the_database_goes_and_comes_back_and_nothing_is_lost(shop: Shop) -> None:
    deployed = shop.deployed
    postgres = deployed.container("postgres")
    await shop.fail_renewals(20)
    await asyncio.to_thread(postgres.kill)
    await shop.fail_renewals(5)  # their events meet a 503, and are brought again
    wait_until(
        lambda: {deployed.health(each) for each in OURS} == {"unhealthy"},
        "all services are unhealthy",
        pause_s=LOOK_EVERY_S,
    )
    async with (
        aiohttp.ClientSession(connector=Edge(deployed.stack).connector()) as browser,
        browser.get(f"{deployed.stack.public_url}/v1/stats", headers={"Authorization": "Bearer x"}) as answer,
    ):
        assert answer.status in (401, 503)
    await asyncio.to_thread(postgres.start)
    wait_until(
        lambda: {deployed.health(each) for each in OURS} == {"healthy"},
        "all services are healthy again",
        pause_s=LOOK_EVERY_S,
    )
    await until(shop.quiet, "everything is done", pause_s=LOOK_EVERY_S)
    await shop.nothing_is_lost_or_twice()


async def test_the_database_process_is_killed_and_docker_starts_it_again(shop: Shop) -> None:
    before = _restarts(shop.deployed, "postgres")
    load = asyncio.create_task(shop.fail_renewals(40))
    shop.deployed.sh("postgres", "bash", "-c", "kill -9 $(head -1 $PGDATA/postmaster.pid)")
    await load
    wait_until(
        lambda: _restarts(shop.deployed, "postgres") > before, "PostgreSQL is started again", pause_s=LOOK_EVERY_S
    )
    wait_until(lambda: shop.deployed.health("postgres") == "healthy", "PostgreSQL is healthy", pause_s=LOOK_EVERY_S)
    await until(shop.quiet, "everything is done", pause_s=LOOK_EVERY_S)
    await shop.nothing_is_lost_or_twice()


async def test_a_rolling_restart_under_load_loses_and_repeats_nothing(shop: Shop) -> None:
    deployed = shop.deployed
    done = asyncio.Event()

    async def load() -> int:
        rounds = 0
        while not done.is_set():
            await shop.fail_renewals(1)
            await asyncio.sleep(0.1)  # a busy shop, not a flood
            rounds += 1
        return rounds

    failing = asyncio.create_task(load())
    for service in (*OURS, "edge"):
        await asyncio.to_thread(deployed.container(service).restart, timeout=35)
        is_healthy = partial(_is_healthy, deployed, service)
        wait_until(is_healthy, f"{service} is healthy", pause_s=LOOK_EVERY_S)
    # New migrations come while the old code runs: the same schema once more has to be harmless.
    await asyncio.to_thread(deployed.stack.run, "run", "--rm", "--no-deps", "migrate", quiet=True)
    done.set()
    assert await failing > 5
    await until(shop.quiet, "everything is done", pause_s=LOOK_EVERY_S)
    await shop.nothing_is_lost_or_twice()
    kinds = Counter(each["outcome"] for each in await shop.simulator.attempts() if each["source"] == "api_pay")
    assert kinds["succeeded"] == await shop.query(
        "SELECT count(*) FROM attempts WHERE result = 'succeeded' AND origin = 'citadel'"
    )


def test_a_free_port_is_free() -> None:
    assert free_port() != free_port()
