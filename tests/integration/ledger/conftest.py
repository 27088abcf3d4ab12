"""The ledger's API over a database of the test's own, and a small world to ask about."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.ledger.app import make_ledger_app
from shared.database import Database, Role
from tests.conftest import OpenDatabase
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World


@pytest.fixture
def world(database: Database) -> World:
    """The scene's builder."""
    return World(database)


@pytest.fixture
async def api(open_database: OpenDatabase, world: World) -> AsyncIterator[Api]:
    """The API, under the ledger's role, called with a key of the platform that may do everything."""
    async with (
        open_database(Role.LEDGER) as database,
        TestClient(TestServer(make_ledger_app(database))) as client,
    ):
        yield Api(client, await world.key())
