"""A town for a test: see `town.py`."""

from collections.abc import AsyncIterator

import pytest

from shared.database import Database
from tests.conftest import OpenDatabase
from tests.integration.worker.messages.town import Town, town_of


@pytest.fixture
async def town(open_database: OpenDatabase, database: Database) -> AsyncIterator[Town]:
    """One merchant behind a real ingress."""
    async with town_of(database, open_database) as made:
        yield made
