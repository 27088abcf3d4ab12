"""The story on the stack in containers (`make up SIMULATOR=1`), from outside: through the edge, over TLS.

Where the edge has no route (PostgreSQL, metrics), the containers' own addresses are used. On Linux only the machine
that runs the containers can reach these.
"""

import asyncio
import os
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult

from console.compose.stack import Stack, StackError
from console.demo import store
from console.demo.progress import Teller
from console.local import LocalStackError
from shared.database import Role
from simulator.client import SimulatorClient

INGRESS_METRICS: Final = "http://{address}:8001/metrics"
WEBHOOKS: Final = "https://edge:8443/webhooks/stripe"
SERVICES: Final = ("postgres", *(role.service for role in Role), "edge")
_LOOK_EVERY_S: Final = 2.0
_RESTART_PATIENCE_S: Final = 90.0

# Docker's init is process 1; the container ends when the service below it ends.
_KILL: Final = "import os, sys; os.kill(int(sys.argv[1]), 9)"


class _LocalhostResolver(AbstractResolver):
    """Resolves every name below `.localhost` to this machine, as a browser does, and others as usual."""

    def __init__(self) -> None:
        self._usual = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host.endswith(".localhost"):
            host = "127.0.0.1"
        return await self._usual.resolve(host, port, family)

    async def close(self) -> None:
        await self._usual.close()


class Edge:
    """What a browser needs to reach a stack's auth: its address, a trusted authority, the simulator's name."""

    def __init__(self, stack: Stack) -> None:
        self.auth_url = stack.public_url
        self._trusted = ssl.create_default_context(cafile=str(stack.secrets / "tls_authority"))

    def connector(self) -> aiohttp.TCPConnector:
        """A connector that trusts this stack's authority and resolves the simulator's name."""
        return aiohttp.TCPConnector(ssl=self._trusted, resolver=_LocalhostResolver())


class ComposeTarget(Edge):
    """The running stack in containers as the story's target."""

    def __init__(self, stack: Stack, containers: Mapping[str, list[dict[str, Any]]], first_day: datetime) -> None:
        super().__init__(stack)
        self._stack = stack
        self._data_dir: Path | None = None
        self._ids = {service: [each["Id"] for each in found] for service, found in containers.items()}
        self._ingress = _address(containers["ingress"][0], f"{stack.name}_data")
        self._looked_at = 0.0
        self.curl = f"curl -s --cacert {stack.secrets / 'tls_authority'}"
        self.first_day = first_day
        self.database_url = _owner_url(stack, _address(containers["postgres"][0], f"{stack.name}_data"))
        self.simulator_url = f"http://127.0.0.1:{stack.simulator_port}"
        self.webhook_url = WEBHOOKS
        self.ledger_url = stack.public_url

    def logging_to(self, folder: Path) -> "ComposeTarget":
        """The same target, which writes the containers' logs to this folder."""
        self._data_dir = folder
        return self

    async def fail_if_ended(self) -> None:
        """Raise LocalStackError when a container of a service is not running; checked now and then only."""
        if time.monotonic() - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        running = (await _docker("ps", "--no-trunc", "--quiet")).split()
        gone = [service for service, ids in self._ids.items() if not set(ids) <= set(running)]
        if gone:
            raise LocalStackError(f"not running any more: {', '.join(gone)}; see `docker logs`")

    async def kill_worker(self, locked_by: str) -> str | None:
        """SIGKILL the worker's process from inside its container: to Docker it is a crash, after which it restarts."""
        host, _, rest = locked_by.partition(":")
        for number, container in enumerate(self._ids["worker"], 1):
            if container.startswith(host):
                pid = rest.partition(":")[0]
                await _docker("exec", container, "python", "-IS", "-c", _KILL, pid)
                return f"worker-{number}"
        return None

    async def start_worker(self, name: str) -> None:
        """Wait until Docker has started it again and it is healthy."""
        container = self._ids["worker"][int(name.rpartition("-")[2]) - 1]
        ends = time.monotonic() + _RESTART_PATIENCE_S
        while time.monotonic() < ends:
            state = (await _inspect([container]))[0]["State"]
            if state["Running"] and state["Health"]["Status"] == "healthy":
                return
            await asyncio.sleep(0.5)
        raise LocalStackError(f"{name} was not started again within {_RESTART_PATIENCE_S:g} s")

    async def ingress_metrics(self) -> str:
        """The ingress's `/metrics`."""
        url = INGRESS_METRICS.format(address=self._ingress)
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    async def logs(self) -> list[Path]:
        """The logs of all services' containers so far, as files."""
        folder = self._data_dir or Path.cwd()
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for service, ids in self._ids.items():
            for number, container in enumerate(ids, 1):
                file = folder / f"{service}-{number}.log"
                file.write_text(await _docker("logs", container))
                files.append(file)
        return files

    def how_to_look(self) -> Mapping[str, str]:
        """A command that shows the stack's containers."""
        return {"containers": f"docker ps --filter label=com.docker.compose.project={self._stack.name}"}


@asynccontextmanager
async def compose_target(stack: Stack, workers: int, data_dir: Path, teller: Teller) -> AsyncIterator[ComposeTarget]:
    """A running stack with the simulator and so many workers. It must be new, or merchants of an earlier story would
    be mixed with ours. Raises LocalStackError."""
    again = "make down SIMULATOR=1 VOLUMES=1 && make up SIMULATOR=1"
    try:
        await asyncio.to_thread(stack.refuse_without_engine)
        if not await asyncio.to_thread(stack.running):
            raise LocalStackError("the stack does not run: make up SIMULATOR=1")
        teller.say(f"{workers} workers in containers")
        scale = ("up", "--detach", "--wait", "--no-build", "--no-recreate", "--scale", f"worker={workers}", "worker")
        await asyncio.to_thread(stack.run, *scale, quiet=True)
        containers = {service: await _containers(stack, service) for service in SERVICES}
    except StackError as error:
        raise LocalStackError(str(error)) from error
    async with SimulatorClient(f"http://127.0.0.1:{stack.simulator_port}") as simulator:
        now = datetime.fromtimestamp((await simulator.clock())["now"], UTC)
    target = ComposeTarget(stack, containers, now).logging_to(data_dir / "logs")
    connection = await asyncpg.connect(target.database_url, timeout=10)
    try:
        merchants = await connection.fetchval(store.ALL_MERCHANTS)
    finally:
        await connection.close()
    if merchants:
        raise LocalStackError(f"the stack has {merchants} merchants of an earlier story: {again}")
    yield target


async def _containers(stack: Stack, service: str) -> list[dict[str, Any]]:
    ids = (await asyncio.to_thread(stack.run, "ps", "--quiet", service, quiet=True)).split()
    if not ids:
        raise LocalStackError(f"{service} does not run: make up SIMULATOR=1")
    return await _inspect(ids)


async def _inspect(ids: list[str]) -> list[dict[str, Any]]:
    described: list[dict[str, Any]] = orjson.loads(await _docker("inspect", *ids))
    return described


def _address(container: Mapping[str, Any], network: str) -> str:
    address: str = container["NetworkSettings"]["Networks"][network]["IPAddress"]
    return address


def _owner_url(stack: Stack, address: str) -> str:
    parts = urlsplit((stack.secrets / "owner_database_url").read_text().strip())
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@{address}:{parts.port}"))


async def _docker(*arguments: str) -> str:
    """The command's output, including errors. Raises LocalStackError."""
    done = await asyncio.to_thread(
        subprocess.run,
        ["docker", *arguments],
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise LocalStackError(f"docker {arguments[0]} failed: {done.stdout.strip()[-300:]}")
    return done.stdout
