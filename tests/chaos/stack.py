"""The processes under test, each with proxies of its own to PostgreSQL and, for workers, to Stripe and Resend."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from console.local import LocalStack, SimulatorPlan, StackPlan, embedded
from shared.crypto import KeyRing
from shared.database import Role
from tests.chaos.proxy import HOST, Proxy

WORKERS = 3
LEASE_S = 2.0
STRIPE_TIMEOUT_S = 10.0
"""Longer than the lease, unlike in production: so a worker that was stopped beyond its lease still gets its answers,
and only its own check of the lease stops it."""
CLIENT = "chaos.client"
"""A session variable that names the process behind a connection; the audit triggers note it."""

SETTINGS = {
    "CITADEL_ENCRYPTION_KEYS": f"chaos:{KeyRing.generate()}",
    "CITADEL_STATE_SECRET": "x" * 48,
    "CITADEL_WORKER_LEASE_SECONDS": str(LEASE_S),
    "CITADEL_WORKER_POLL_MAX_SECONDS": "0.1",
    "CITADEL_STRIPE_TIMEOUT_SECONDS": str(STRIPE_TIMEOUT_S),
    "CITADEL_RESEND_TIMEOUT_SECONDS": str(STRIPE_TIMEOUT_S),
}
# A killed process loses nothing that it has written; fsync protects against power cuts, which are not tested here.
POSTGRES = {"fsync": "off", "max_connections": "80"}

_KEY = re.compile(rb"\r\n[Ii]dempotency-[Kk]ey: *([^\r\n]+)")
_POST = re.compile(rb"^POST (\S+) HTTP")


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that a worker sent under an idempotency key. `at` is unix time in seconds."""

    worker: str
    at: float
    path: str
    key: str


class Network:
    """Every proxied connection between two processes, by name: `worker-1 database`, `worker-1 stripe`, `webhooks`."""

    def __init__(self) -> None:
        self.proxies: dict[str, Proxy] = {}
        self.sent: list[Sent] = []
        self._stack: LocalStack | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["Network"]:
        """All proxies listen during the block."""
        network = cls()
        network.add("webhooks", Proxy("webhooks", network._ingress))
        network.add("ingress-1 database", Proxy("ingress-1 database", network._postgres))
        for index in range(1, WORKERS + 1):
            name = f"worker-{index}"
            network.add(f"{name} database", Proxy(f"{name} database", network._postgres))
            network.add(f"{name} stripe", Proxy(f"{name} stripe", network._simulator, network._tap(name)))
        try:
            for proxy in network.proxies.values():
                await proxy.start()
            yield network
        finally:
            for proxy in network.proxies.values():
                await proxy.close()

    def add(self, name: str, proxy: Proxy) -> None:
        """Add a proxy."""
        self.proxies[name] = proxy

    def belongs_to(self, stack: LocalStack) -> None:
        """Connect the proxies to this stack's processes."""
        self._stack = stack

    def heal(self) -> None:
        """End the faults of all proxies."""
        for proxy in self.proxies.values():
            proxy.heal()

    def _postgres(self) -> int | None:
        server = self._stack.database.server if self._stack else None
        return server.port if server is not None and server.running else None

    def _simulator(self) -> int | None:
        return _port(self._stack.simulator_url) if self._stack else None

    def _ingress(self) -> int | None:
        return _port(self._stack.url(Role.INGRESS)) if self._stack else None

    def _tap(self, worker: str) -> "Tapped":
        return Tapped(worker, self.sent)


class Tapped:
    """Notes what a worker sends under an idempotency key, when the request leaves the worker."""

    def __init__(self, worker: str, sent: list[Sent]) -> None:
        self._worker = worker
        self._sent = sent

    def __call__(self, chunk: bytes) -> None:
        """Note a request, whose head comes in one chunk because it is short and written at once."""
        line, key = _POST.search(chunk), _KEY.search(chunk)
        if line and key:
            self._sent.append(Sent(self._worker, time.time(), line[1].decode(), key[1].decode()))


class ChaosStack(LocalStack):
    """A local stack whose ingress and workers reach everything through proxies."""

    def __init__(self, plan: StackPlan, network: Network) -> None:
        super().__init__(plan, embedded(None, POSTGRES))
        self._network = network
        network.belongs_to(self)

    def _add(self, role: Role, index: int, database_url: str) -> None:
        name = f"{role.service}-{index}"
        way = self._network.proxies.get(f"{name} database")
        if way is not None:
            database_url = _through(database_url, way.port, f"{CLIENT}={name}")
        super()._add(role, index, database_url)
        stripe = self._network.proxies.get(f"{name} stripe")
        if stripe is not None:
            process = self.process(role, index)
            base = f"http://{HOST}:{stripe.port}"
            process._environment = {
                **process._environment,
                "CITADEL_STRIPE_API_BASE": base,
                "CITADEL_RESEND_BASE": base,
            }


def plan(data_dir: Path, seed: int, start: int) -> StackPlan:
    """What runs; `start` is the simulator's first second."""
    simulator = SimulatorPlan(seed=seed, start=start)
    return StackPlan(data_dir=data_dir, workers=WORKERS, settings=SETTINGS, simulator=simulator, grace_s=8.0)


def _through(url: str, port: int, query: str) -> str:
    parts = urlsplit(url)
    login, _, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}@{HOST}:{port}", query=query))


def _port(url: str) -> int | None:
    return urlsplit(url).port if url else None
