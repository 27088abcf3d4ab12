"""The ingress under its own role, before a fresh database with one connected merchant."""

from collections.abc import AsyncIterator

import pytest

from shared.database import Database, Role
from tests.conftest import OpenDatabase
from tests.integration.ingress.world import ACCOUNT, World, client_for


@pytest.fixture
async def world(database: Database, open_database: OpenDatabase) -> AsyncIterator[World]:
    """A world in which `acct_1` is connected."""
    async with open_database(Role.INGRESS) as ingress, client_for(ingress) as client:
        made = World(database, client)
        made.merchant_id = await made.connect(ACCOUNT)
        yield made
