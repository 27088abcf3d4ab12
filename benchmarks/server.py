"""The PostgreSQL that is measured: with fsync, all guarantees on, and new databases."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from console.local.postgres import EmbeddedPostgres
from shared import migrations

# Sized for this machine, with every guarantee on and autovacuum's defaults.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB", "checkpoint_timeout": "15min", "max_connections": "150"}
DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `bin_dir` has its pgbench."""

    base: str
    bin_dir: Path

    def url(self, name: str) -> str:
        """The owner's URL of a database."""
        return urlunsplit(urlsplit(self.base)._replace(path=f"/{name}"))

    async def fresh(self, *, migrated: bool = True) -> str:
        """The URL of a new database."""
        name = f"bench_{next(_numbers)}"
        await self.on_server(f"CREATE DATABASE {name}")
        if migrated:
            await asyncio.to_thread(migrations.upgrade, self.url(name))
        return self.url(name)

    async def on_server(self, statement: str) -> None:
        """Run a statement outside of any measured database."""
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def drop(self, url: str) -> None:
        """Drop a database and run a checkpoint, so that the next measure starts clean."""
        await self.on_server(f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)")
        await self.on_server("CHECKPOINT")

    async def conditions(self) -> dict[str, Any]:
        """Version and durability, read from the server. Raises AssertionError when a commit is not durable."""
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            durable = {name: await connection.fetchval(f"SHOW {name}") for name in DURABILITY}
            assert set(durable.values()) == {"on"}, durable
            return {"postgresql": await connection.fetchval("SHOW server_version"), **durable}
        finally:
            await connection.close()


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    """A temporary server on this machine's disk."""
    async with EmbeddedPostgres.temporary(settings=SETTINGS) as server:
        yield Server(server.url("postgres"), server.bin_dir)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection with the owner's rights."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
