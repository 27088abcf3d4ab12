"""The processes of one machine, started in order, watched, killed on demand, and stopped in order.

    database, simulator ──> migrations ──> logins ──> ingress, auth, ledger, worker-1 … worker-n

They are stopped in another order: ingress and auth first (so that nothing new comes in), then the workers, the ledger,
the simulator and the database. Each gets a SIGTERM, and SIGKILL when its grace period is over.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import services
from console.local.databases import RunningDatabase
from console.local.process import LocalStackError, Process
from shared import migrations
from shared.database import Role

LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - recognised, not bound


STOPPED_TOGETHER: Final = ((Role.INGRESS, Role.AUTH), (Role.WORKER,), (Role.LEDGER,))
SIMULATOR: Final = "simulator"


@dataclass(frozen=True, slots=True)
class SimulatorPlan:
    """A simulator for the services. `start`: its first simulated unix second (default: now)."""

    seed: int = 1
    start: int | None = None


@dataclass(frozen=True, slots=True)
class StackPlan:
    """What runs, and with which settings.

    `settings`: CITADEL_… variables for every service. The stack adds the database, the host and the ports (free ones
    if `ports` names none; each further worker's port is higher by one) and, with a simulator, its addresses and keys
    for Stripe and Resend. Other environment variables are inherited, CITADEL_… are not. `host`: the address that the
    services listen on. `directory`: where the services run, and look for a `.env`; by default the data folder, which
    has none.
    """

    data_dir: Path
    workers: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[Role, int] = field(default_factory=dict)
    simulator: SimulatorPlan | None = None
    directory: Path | None = None
    host: str = LOOPBACK
    start_deadline_s: float = 60.0
    grace_s: float = 25.0


def _silent(_what: str) -> None:
    pass


class LocalStack:
    """`async with LocalStack(plan, embedded(folder)) as stack`: everything runs and is ready inside the block.

    Start it from the main thread. Raises LocalStackError or EmbeddedPostgresError when something does not start; then
    nothing is left running. `say` is called with a few words for each step.
    """

    def __init__(
        self,
        plan: StackPlan,
        database: AbstractAsyncContextManager[RunningDatabase],
        say: Callable[[str], None] = _silent,
    ) -> None:
        self.plan: Final = plan
        self.logs: Final = plan.data_dir / "logs"
        self._database = database
        self._say = say
        self._exit = AsyncExitStack()
        self._processes: dict[str, Process] = {}
        self._meant_to_run: set[str] = set()
        self._running: RunningDatabase | None = None

    # -- its life --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._start_all()
        except BaseException:  # a cancelled start must not leave a process, either
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def _start_all(self) -> None:
        self._refuse_taken_ports()
        self.logs.mkdir(parents=True, exist_ok=True)
        self.logs.chmod(0o700)
        self._say("PostgreSQL")
        self._running = await self._exit.enter_async_context(self._database)
        self._exit.push_async_callback(self._stop_all)
        if self.plan.simulator:
            self._say("simulator")
            await self._start_simulator(self.plan.simulator)
        self._say("migrations")
        await asyncio.to_thread(migrated, self.database.url)
        counts = {role: self.plan.workers if role is Role.WORKER else 1 for role in Role}
        names = ", ".join(role.service for role in Role)
        self._say(f"{sum(counts.values())} processes: {names} ({self.plan.workers} workers)")
        urls = {role: await self.database.url_for(role) for role in Role}
        for role, count in counts.items():
            for index in range(1, count + 1):
                self._add(role, index, urls[role])
        await asyncio.gather(*(self.start(role, index) for role, index in self.numbered()))

    async def _start_simulator(self, plan: SimulatorPlan) -> None:
        start = [] if plan.start is None else ["--start", str(plan.start)]
        command = [
            sys.executable,
            "-m",
            "simulator",
            "--host",
            LOOPBACK,
            "--port",
            "0",
            "--seed",
            str(plan.seed),
            *start,
        ]
        process = self._make(SIMULATOR, command, _inherited())
        await process.start()
        ready = await process.first_json_line(self.plan.start_deadline_s)
        process.url = str(ready["url"])

    async def _stop_all(self) -> None:
        for group in STOPPED_TOGETHER:
            await self._stop_together([self.process(each, index) for each, index in self.numbered() if each in group])
        if SIMULATOR in self._processes:
            await self._processes[SIMULATOR].stop(5.0)

    async def _stop_together(self, processes: Sequence[Process]) -> None:
        await asyncio.gather(*(process.stop(self.plan.grace_s + 2.0) for process in processes))

    # -- what runs -------------------------------------------------------------------------------

    @property
    def database(self) -> RunningDatabase:
        """The database, with its owner's URL. LocalStackError before the start."""
        if self._running is None:
            raise LocalStackError("the stack has not been started")
        return self._running

    @property
    def simulator_url(self) -> str:
        """The simulator's URL; LocalStackError when the plan has none."""
        if SIMULATOR not in self._processes:
            raise LocalStackError("this stack runs without a simulator")
        return self._processes[SIMULATOR].url

    def numbered(self) -> list[tuple[Role, int]]:
        """Every process of a service, also killed ones; indexes count from 1."""
        known = [(role, index) for role in Role for index in range(1, len(self._processes) + 1)]
        return [(role, index) for role, index in known if _name(role, index) in self._processes]

    def process(self, role: Role, index: int = 1) -> Process:
        """One process; LocalStackError when it is not in the plan."""
        name = _name(role, index)
        if name not in self._processes:
            raise LocalStackError(f"this stack has no {name}")
        return self._processes[name]

    def url(self, role: Role, index: int = 1) -> str:
        """The process's URL: `http://<host>:<port>`."""
        return self.process(role, index).url

    @property
    def _reached_at(self) -> str:
        """The host in the URLs of our services."""
        host = LOOPBACK if self.plan.host in _EVERYWHERE else self.plan.host
        return f"[{host}]" if ":" in host else host

    async def start(self, role: Role, index: int = 1) -> None:
        """Start a process, or start it again, and wait until it is ready. Raises ProcessFailed."""
        process = self.process(role, index)
        await process.start()
        await process.wait_until_ready(self._reached_at, self.plan.start_deadline_s)
        self._meant_to_run.add(process.name)

    async def kill(self, role: Role, index: int = 1) -> None:
        """SIGKILL, as in a crash."""
        self._meant_to_run.discard(_name(role, index))
        await self.process(role, index).kill()

    async def stop(self, role: Role, index: int = 1) -> int | None:
        """SIGTERM, and SIGKILL when the grace period is over; the exit status."""
        self._meant_to_run.discard(_name(role, index))
        return await self.process(role, index).stop(self.plan.grace_s + 2.0)

    def ended_unasked(self) -> list[tuple[Role, int]]:
        """The processes that should run and do not."""
        return [
            (role, index)
            for role, index in self.numbered()
            if _name(role, index) in self._meant_to_run and not self.process(role, index).running
        ]

    def fail_if_ended(self) -> None:
        """Raise ProcessFailed when a process has ended without having been killed or stopped by us."""
        for role, index in self.ended_unasked():
            raise self.process(role, index).failed("has ended, and nobody asked it to")

    def service_logs(self) -> list[Path]:
        """The log of every service's process and of our own PostgreSQL; not the simulator's."""
        found = [process.log_file for name, process in self._processes.items() if name != SIMULATOR]
        server = self.database.server
        return found if server is None else [*found, server.log_file]

    # -- making processes ------------------------------------------------------------------------

    def _add(self, role: Role, index: int, database_url: str) -> None:
        port = self.plan.ports.get(role, 0)
        ours = {
            "CITADEL_DATABASE_URL": database_url,
            "CITADEL_HOST": self.plan.host,
            "CITADEL_LOG_FORMAT": "json",
            "CITADEL_SHUTDOWN_GRACE_SECONDS": f"{self.plan.grace_s:g}",
            f"CITADEL_{role.service.upper()}_PORT": str(port + index - 1 if port else 0),
        }
        if role is Role.AUTH and "CITADEL_PUBLIC_URL" not in self.plan.settings:
            # Its redirect URI contains the port, so the port must be known before the start.
            chosen = port or _free_port(self.plan.host)
            ours["CITADEL_AUTH_PORT"] = str(chosen)
            ours["CITADEL_PUBLIC_URL"] = f"http://{self._reached_at}:{chosen}"
        # Our setting replaces a `…_FILE` variable for the same: both together would be an error.
        given = {name: value for name, value in self.plan.settings.items() if name.removesuffix("_FILE") not in ours}
        environment = {**_inherited(), **self._simulated(), **given, **ours}
        self._make(_name(role, index), [sys.executable, "-m", f"services.{role.service}"], environment)

    def _make(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        directory = self.plan.directory or self.plan.data_dir
        log_file = self.logs.absolute() / f"{name}.log"
        made = Process(name, command, environment=environment, directory=directory, log_file=log_file)
        self._processes[name] = made
        return made

    def _simulated(self) -> dict[str, str]:
        """The simulator's addresses and well-known keys as settings; none without a simulator."""
        if SIMULATOR not in self._processes:
            return {}
        url = self.simulator_url
        return {
            "CITADEL_STRIPE_API_BASE": url,
            "CITADEL_STRIPE_CONNECT_BASE": url,
            "CITADEL_STRIPE_SECRET_KEY": "sk_test_simulator",
            "CITADEL_STRIPE_CLIENT_ID": "ca_simulator",
            "CITADEL_STRIPE_WEBHOOK_SECRETS": "whsec_simulator",
            "CITADEL_RESEND_BASE": url,
            "CITADEL_RESEND_API_KEY": "re_simulator",
            "CITADEL_EMAIL_FROM": "Billing <billing@platform.example>",
        }

    def _refuse_taken_ports(self) -> None:
        """Raise LocalStackError with all ports that are in use, before anything starts."""
        wanted = {
            port + offset: role
            for role, port in self.plan.ports.items()
            if port
            for offset in range(self.plan.workers if role is Role.WORKER else 1)
        }
        taken = [
            f"{port} ({role.service})" for port, role in sorted(wanted.items()) if not _is_free(self.plan.host, port)
        ]
        if taken:
            raise LocalStackError(
                f"somebody listens on {self.plan.host} at {', '.join(taken)} already: end that, or choose other ports "
                "(CITADEL_INGRESS_PORT, CITADEL_AUTH_PORT, CITADEL_LEDGER_PORT, CITADEL_WORKER_PORT; 0: any free one)"
            )


def migrated(url: str, revision: str = "head") -> None:
    """Bring the schema up to `revision`; LocalStackError, in a few lines, when that fails."""
    try:
        migrations.upgrade(url, revision)
    except migrations.MigrationError as error:
        raise LocalStackError(str(error)) from error


def _name(role: Role, index: int) -> str:
    return f"{role.service}-{index}"


def _inherited() -> dict[str, str]:
    """Our environment without CITADEL_… settings, and with the path from which our packages are imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CITADEL_", "PG"))}
    root = str(Path(next(iter(services.__path__))).parent)
    paths = [root, *filter(None, kept.get("PYTHONPATH", "").split(os.pathsep))]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _is_free(host: str, port: int) -> bool:
    try:
        _bind(host, port)
    except OSError:
        return False
    return True


def _free_port(host: str) -> int:
    return _bind(host, 0)


def _bind(host: str, port: int) -> int:
    """Bind a port and release it; returns its number."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the services' servers do
        probe.bind((host, port))
        bound: int = probe.getsockname()[1]
    return bound
