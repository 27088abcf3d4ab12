"""The bench of the engine's tests."""

from collections.abc import AsyncIterator

import pytest

from services.worker.app import going_outside
from shared.database import Database, Role
from tests.conftest import OpenDatabase
from tests.integration.worker.engine.bench import Bench
from tests.integration.worker.world import worker_settings


@pytest.fixture
async def bench(open_database: OpenDatabase, database: Database) -> AsyncIterator[Bench]:
    async with going_outside(worker_settings("http://127.0.0.1:9"), database) as outside:
        yield Bench(database, lambda: open_database(Role.WORKER), outside)
