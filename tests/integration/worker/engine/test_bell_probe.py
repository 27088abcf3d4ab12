"""The bell's connection is asked now and then whether it lives."""

import asyncio

import pytest

from services.worker.engine import bell as bell_module
from services.worker.engine.bell import Bell
from shared.database import Database, Role
from tests.conftest import OpenDatabase
from tests.waiting import until
from tests.world import World

PROBED = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query = 'SELECT'
)
"""


async def test_the_bell_goes_on_listening_after_it_has_asked_whether_its_connection_lives(
    database: Database, open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell_module, "_PROBE_SECONDS", 0.01)
    async with open_database(Role.WORKER) as worker:
        bell = Bell(worker, "worker")
        running = asyncio.create_task(bell.run())

        async def probed_or_ended() -> bool:
            return await World(database).value(PROBED) or running.done()

        await until(probed_or_ended, "the connection is asked")
        assert (running.done(), bell.heard) == (False, True)
        running.cancel()
        await asyncio.wait({running})
