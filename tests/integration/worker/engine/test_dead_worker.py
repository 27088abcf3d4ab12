"""A worker process is killed in the middle of its work: another one has its tasks within a lease and 5 s."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from console.local.process import Process
from services.worker.engine.janitor import RESCUE_BATCH, Rescuer, rescue_every
from services.worker.settings import WorkerSettings
from shared.database import Database, Role
from shared.queue import tasks
from tests.chaos import store
from tests.conftest import OpenDatabase
from tests.integration.worker.world import World
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[4]
LEASE_S = 3.0
WITHIN_S = 5.0
BUSY_MACHINE_S = 15.0
"""What this adds to the promise: two processes, PostgreSQL and the test may share a core with others."""

HELD = "SELECT count(*) FROM scheduled_tasks WHERE status = 'running' AND locked_by LIKE '%:' || $1::int || ':%'"
CLAIMS = """
SELECT task_id, extract(epoch FROM at - $1::timestamptz)::float8 AS after_s
FROM chaos.task_changes
WHERE old_status = 'pending' AND status = 'running' AND at > $1
"""
RESCUES = """
SELECT extract(epoch FROM at - old_lease)::float8 AS after_lease_s, extract(epoch FROM old_lease - $1)::float8 AS left_s
FROM chaos.task_changes
WHERE why LIKE 'lease expired%' AND old_status = 'running' AND status <> 'running'
"""


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A Stripe that takes every call and never answers."""
    writers: list[asyncio.StreamWriter] = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()


@pytest.fixture
async def worker(
    database_url: str, silent_port: int, tmp_path: Path
) -> AsyncIterator[Callable[[], Awaitable[Process]]]:
    """Start another real worker and wait until it is ready; all are killed in the end."""
    started: list[Process] = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CITADEL_", "PG"))} | {
        "PYTHONPATH": str(ROOT),
        "CITADEL_DATABASE_URL": database_url,
        "CITADEL_STRIPE_SECRET_KEY": "sk_test_unused",
        "CITADEL_STRIPE_API_BASE": f"http://127.0.0.1:{silent_port}",
        "CITADEL_STRIPE_TIMEOUT_SECONDS": "60",
        "CITADEL_WORKER_LEASE_SECONDS": str(LEASE_S),
        "CITADEL_WORKER_PORT": "0",
        "CITADEL_HOST": "127.0.0.1",
        "CITADEL_LOG_FORMAT": "json",
    }

    async def start() -> Process:
        name = f"worker-{len(started) + 1}"
        command = (sys.executable, "-m", "services.worker")
        process = Process(name, command, environment=environment, directory=tmp_path, log_file=tmp_path / f"{name}.log")
        started.append(process)
        await process.start()
        await process.wait_until_ready("127.0.0.1", PATIENCE_S)
        return process

    yield start
    for process in started:
        await process.kill()


async def _holds(world: World, process: Process, count: int) -> None:
    """Wait until so many tasks are in this process's hands."""
    try:
        await until(
            lambda: world.value(HELD, process.pid), f"{process.name} has {count} tasks", lambda held: held == count
        )
    except AssertionError as error:
        error.add_note(process.log_tail())
        raise


async def test_the_tasks_of_a_killed_worker_start_elsewhere_within_a_lease_and_5_s(
    world: World, worker: Callable[[], Awaitable[Process]]
) -> None:
    async with world.database.transaction() as db:
        await store.install_audit(db)
    for _ in range(4):
        await world.fail(decline="do_not_honor")
    doomed = await worker()
    await _holds(world, doomed, 4)
    other = await worker()
    await doomed.kill()
    (row,) = await world.rows("SELECT clock_timestamp() AS killed_at")
    killed_at = row["killed_at"]
    await _holds(world, other, 4)

    claims = await world.rows(CLAIMS, killed_at)
    assert len({row["task_id"] for row in claims}) == 4
    assert max(row["after_s"] for row in claims) <= LEASE_S + WITHIN_S + BUSY_MACHINE_S
    rescues = await world.rows(RESCUES, killed_at)
    assert len(rescues) == 4
    assert min(row["after_lease_s"] for row in rescues) >= 0, "nothing is taken from a worker that may live"
    assert max(row["left_s"] for row in rescues) <= LEASE_S, "no lease is longer than it says"


async def _claimed_by_the_dead(database: Database, count: int) -> None:
    async with database.transaction() as db:
        await db.execute(
            "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) "
            "SELECT 'm', 'probe', '{}' FROM generate_series(1, $1)",
            count,
        )
        await tasks.claim(db, "doomed", count, timedelta(seconds=-1))


@pytest.mark.parametrize("lease_s", [1.0, 3.0, 10.0, 30.0, 600.0])
async def test_the_steps_from_the_end_of_a_lease_to_the_next_claim_take_5_s_at_most(
    database: Database, open_database: OpenDatabase, lease_s: float
) -> None:
    await _claimed_by_the_dead(database, 50)
    async with open_database(Role.WORKER) as opened:
        assert await Rescuer(opened, {}, rescue_every(lease_s)).rescue() == 50
    async with database.transaction() as db:
        delay = await db.fetchval("SELECT max(run_at) - citadel_now() FROM scheduled_tasks WHERE status = 'pending'")
    poll_s = WorkerSettings.model_fields["worker_poll_max_seconds"].default
    assert rescue_every(lease_s) + max(delay.total_seconds(), 0.9) + poll_s <= WITHIN_S
    assert delay.total_seconds() <= 1.0


async def test_everything_that_a_worker_had_claimed_ahead_is_rescued_at_once(
    database: Database, open_database: OpenDatabase
) -> None:
    await _claimed_by_the_dead(database, 2 * RESCUE_BATCH + 1)
    async with open_database(Role.WORKER) as opened:
        assert await Rescuer(opened, {}, 1).rescue() == 2 * RESCUE_BATCH + 1
        assert await Rescuer(opened, {}, 1).rescue() == 0
