"""One town for a test."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.ledger.app import make_ledger_app
from shared.api_keys import Scope, hash_secret, new_secret
from shared.database import Database, Role
from tests.conftest import OpenDatabase
from tests.integration.ingress.world import SECRETS, client_for
from tests.integration.ledger.api import Api
from tests.integration.people.town import Town
from tests.integration.worker.world import worker_world


@pytest.fixture
async def town(open_database: OpenDatabase, database: Database) -> AsyncIterator[Town]:
    """One merchant, an ingress, a worker that is stepped by hand, and an operator at the API."""
    async with (
        open_database(Role.INGRESS) as opened,
        client_for(opened) as ingress,
        open_database(Role.LEDGER) as ledger,
        TestClient(TestServer(make_ledger_app(ledger))) as client,
        worker_world(database, open_database) as world,
    ):
        await world.control.configure_webhooks(url=str(ingress.make_url("/webhooks/stripe")), secret=SECRETS[0])
        secret = new_secret()
        insert = "INSERT INTO api_keys (name, key_hash, scopes) VALUES ('operator', $1, $2)"
        await world.execute(insert, hash_secret(secret), list(Scope))
        yield Town(world, Api(client, secret))
