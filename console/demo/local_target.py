"""The story on processes of this machine, which are started for it and end with it."""

import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp

from console.demo.progress import Teller
from console.local import LocalStack, SimulatorPlan, StackPlan, embedded, scratch
from shared.crypto import KeyRing
from shared.database import Role

FIRST_DAY: Final = datetime(2026, 11, 2, 9, tzinfo=UTC)
"""Every local demo begins on the same Monday, so that the same seed gives the same story."""

LEASE_SECONDS: Final = 4


class LocalTarget:
    """A LocalStack as the story's target."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self.curl = "curl -s"
        self.first_day = FIRST_DAY
        self.database_url = stack.database.url
        self.simulator_url = stack.simulator_url
        self.webhook_url = f"{stack.url(Role.INGRESS)}/webhooks/stripe"
        self.auth_url = stack.url(Role.AUTH)
        self.ledger_url = stack.url(Role.LEDGER)

    def connector(self) -> aiohttp.TCPConnector:
        """A default connector: plain HTTP on the loopback interface."""
        return aiohttp.TCPConnector()

    async def fail_if_ended(self) -> None:
        """Raise ProcessFailed when a process has ended without having been killed or stopped by us."""
        self._stack.fail_if_ended()

    async def kill_worker(self, locked_by: str) -> str | None:
        """SIGKILL the worker process that holds a lease: the holder's name contains the process id."""
        pids = set(re.findall(r"\d+", locked_by))
        for service, index in self._stack.numbered():
            process = self._stack.process(service, index)
            if service is Role.WORKER and process.running and str(process.pid) in pids:
                await self._stack.kill(service, index)
                return process.name
        return None

    async def start_worker(self, name: str) -> None:
        """Start the process again."""
        await self._stack.start(Role.WORKER, int(name.rpartition("-")[2]))

    async def ingress_metrics(self) -> str:
        """The ingress's `/metrics`."""
        url = f"{self._stack.url(Role.INGRESS)}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    async def logs(self) -> list[Path]:
        """The log of every service's process and of our own PostgreSQL."""
        return self._stack.service_logs()

    def how_to_look(self) -> Mapping[str, str]:
        """How to look at metrics and the database."""
        return {
            "metrics": f"curl -s {self._stack.url(Role.WORKER)}/metrics",
            "database": f"psql '{self.database_url}'",
        }


@asynccontextmanager
async def local_target(
    seed: int, workers: int, data_dir: Path, database_url: str | None, teller: Teller
) -> AsyncIterator[LocalTarget]:
    """Start everything; raises LocalStackError and EmbeddedPostgresError. `database_url`: a server on which to create a
    database, instead of an embedded one."""
    plan = StackPlan(
        data_dir=data_dir,
        workers=workers,
        simulator=SimulatorPlan(seed=seed, start=int(FIRST_DAY.timestamp())),
        settings={
            "CITADEL_ENCRYPTION_KEYS": f"demo:{KeyRing.generate()}",
            "CITADEL_STATE_SECRET": secrets.token_urlsafe(48),
            "CITADEL_WORKER_LEASE_SECONDS": str(LEASE_SECONDS),
            "CITADEL_WORKER_POLL_MAX_SECONDS": "0.05",
            # A month passes in a minute, so a merchant's calls of a day, and the emails of all, come within a second.
            # Catch-ups run as often per simulated month as they would in real time.
            "CITADEL_STRIPE_CALLS_PER_SECOND": "1000",
            "CITADEL_RESEND_CALLS_PER_SECOND": "1000",
            "CITADEL_CATCH_UP_MINUTES": "720",
        },
        grace_s=10.0,
    )
    # A demo may lose its data in a power cut, but not when a process is killed, PostgreSQL included.
    source = scratch(database_url) if database_url else embedded(None, {"fsync": "off"})
    async with LocalStack(plan, source, teller.say) as stack:
        yield LocalTarget(stack)
