"""Where the story is told: a stack of this machine's processes, or the one in containers. Both look like this."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

import aiohttp


class Reached(Protocol):
    """What a browser needs to get to auth."""

    auth_url: str

    def connector(self) -> aiohttp.TCPConnector:
        """How a browser gets there: names, and the certificates that it trusts."""


class Target(Reached, Protocol):
    """A running stack with a simulator, seen from outside.

    `webhook_url` is where the simulator finds the ingress; the other URLs are as this machine reaches them.
    `first_day`: when the simulator's clock began. `curl`: the command that gets to these URLs.
    """

    curl: str
    first_day: datetime
    database_url: str
    simulator_url: str
    webhook_url: str
    ledger_url: str

    async def fail_if_ended(self) -> None:
        """Raise LocalStackError when something has ended that nobody has killed."""

    async def kill_worker(self, locked_by: str) -> str | None:
        """SIGKILL the worker behind a lease's holder; its name, or None when it is none of ours that runs."""

    async def start_worker(self, name: str) -> None:
        """Have a killed worker run again, and wait until it is ready."""

    async def ingress_metrics(self) -> str:
        """The ingress' `/metrics`."""

    async def logs(self) -> list[Path]:
        """The log of every service and of PostgreSQL; not the simulator's."""

    def how_to_look(self) -> Mapping[str, str]:
        """More to look at while it is kept running: what it is, and a line to paste."""


@asynccontextmanager
async def browsing(target: Reached, headers: Mapping[str, str] | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser of its own, that gets to where `target` is and keeps cookies also for addresses that are numbers."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(connector=target.connector(), cookie_jar=jar, headers=headers) as session:
        yield session
