"""What the story runs on: processes of this machine, or the stack in containers. Both implement `Target`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

import aiohttp


class Reached(Protocol):
    """What a browser needs to reach auth."""

    auth_url: str

    def connector(self) -> aiohttp.TCPConnector:
        """A connector for browsers: resolves names, and trusts the right certificates."""


class Target(Reached, Protocol):
    """A running stack with a simulator, seen from outside.

    `webhook_url` is the ingress's address for the simulator; the other URLs are for this machine. `first_day`: when the
    simulator's clock began. `curl`: the command that reaches these URLs.
    """

    curl: str
    first_day: datetime
    database_url: str
    simulator_url: str
    webhook_url: str
    ledger_url: str

    async def fail_if_ended(self) -> None:
        """Raise LocalStackError when a service has ended without having been killed by us."""

    async def kill_worker(self, locked_by: str) -> str | None:
        """SIGKILL the worker that holds a lease; its name, or None when it is not a running worker of ours."""

    async def start_worker(self, name: str) -> None:
        """Start a killed worker again, and wait until it is ready."""

    async def ingress_metrics(self) -> str:
        """The ingress's `/metrics`."""

    async def logs(self) -> list[Path]:
        """The log of every service and of PostgreSQL; not the simulator's."""

    def how_to_look(self) -> Mapping[str, str]:
        """More to look at while it keeps running: descriptions, and command lines."""


@asynccontextmanager
async def browsing(target: Reached, headers: Mapping[str, str] | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A new browser session that reaches `target` and keeps cookies also for IP addresses."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(connector=target.connector(), cookie_jar=jar, headers=headers) as session:
        yield session
