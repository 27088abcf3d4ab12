"""The bell's connection is asked now and then whether it lives."""

import asyncio

import pytest

from services.worker.engine import bell as bell_module
from services.worker.engine.bell import Bell
from shared.database import Database, Role
from tests.conftest import OpenDatabase

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
        probed = False
        while not (probed or running.done()):
            async with database.transaction() as db:
                probed = await db.fetchval(PROBED)
        assert (running.done(), bell.heard) == (False, True)
        running.cancel()
        await asyncio.wait({running})
