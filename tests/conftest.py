"""A PostgreSQL for the whole run, a migrated template in it, and a clone of the template for each test.

`CITADEL_TEST_DATABASE_URL` (a superuser's URL) runs the tests on that server; otherwise an embedded one is started.
"""

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from console.local.postgres import EmbeddedPostgres
from shared import migrations
from shared.database import Database, Role

# A database per test is thousands of small files: in memory, cloned file by file, five times as fast as on a disk.
_MEMORY = Path("/dev/shm")
_TEMPLATE = f"citadel_template_{os.getpid()}"
_numbers = itertools.count(1)

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("citadel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("citadel")

POOL_SIZE = 5

OpenDatabase = Callable[[Role | None], AbstractAsyncContextManager[Database]]


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def _on_server(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(_with_database(url, "postgres"))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A superuser's URL of the server that the tests run on."""
    given = os.environ.get("CITADEL_TEST_DATABASE_URL")
    if given:
        yield given
        return
    below = _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 2 * 1024**3 else None
    with asyncio.Runner() as runner:
        cluster = EmbeddedPostgres.temporary(fast=True, below=below)
        server = runner.run(cluster.__aenter__())
        try:
            yield server.url("postgres")
        finally:
            runner.run(cluster.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a migrated, empty database."""
    asyncio.run(_on_server(postgres_url, f"CREATE DATABASE {_TEMPLATE}"))
    migrations.upgrade(_with_database(postgres_url, _TEMPLATE))
    yield _TEMPLATE
    asyncio.run(_on_server(postgres_url, f"DROP DATABASE {_TEMPLATE} WITH (FORCE)"))


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """A fresh, migrated database of this test's own; its owner's URL."""
    name = f"citadel_test_{os.getpid()}_{next(_numbers)}"
    await _on_server(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield _with_database(postgres_url, name)
    await _on_server(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def open_database(database_url: str) -> OpenDatabase:
    """`async with open_database(Role.WORKER) as database`: the test's database under a service's role."""
    return lambda role: Database.open(database_url, role, size=POOL_SIZE, name="test")


@pytest.fixture
async def database(open_database: OpenDatabase) -> AsyncIterator[Database]:
    """The test's database with its owner's rights, to set the scene and to look."""
    async with open_database(None) as opened:
        yield opened
