"""The worker's world for a test."""

from collections.abc import AsyncIterator

import pytest

from shared.database import Database
from tests.conftest import OpenDatabase
from tests.integration.worker.world import World, worker_world


@pytest.fixture
async def world(open_database: OpenDatabase, database: Database) -> AsyncIterator[World]:
    """One merchant, both clocks, and a worker that is stepped by hand."""
    async with worker_world(database, open_database) as made:
        yield made
