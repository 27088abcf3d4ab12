"""The real processes: commands as a shell would run them, and a stack with a database that can be killed."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.__main__ import main
from console.local import LocalStack, SimulatorPlan, StackPlan, embedded
from shared.crypto import KeyRing
from shared.database import Role
from simulator.client import SimulatorClient
from tests.waiting import PATIENCE_S

SETTINGS = {
    "CITADEL_ENCRYPTION_KEYS": f"test:{KeyRing.generate()}",
    "CITADEL_STATE_SECRET": "x" * 48,
    "CITADEL_PUBLIC_URL": "http://127.0.0.1:8002",
    "CITADEL_STRIPE_CLIENT_ID": "ca_test",
    "CITADEL_STRIPE_SECRET_KEY": "sk_test_nothing",
    "CITADEL_STRIPE_WEBHOOK_SECRETS": "whsec_test",
}
"""Everything that must be set, beside the database."""

FREE_PORTS = {f"CITADEL_{role.service.upper()}_PORT": "0" for role in Role}


@dataclass(slots=True)
class Command:
    """A running `citadel …`."""

    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)

    def line_with(self, part: str) -> str:
        """Read on until a line with `part` in it; the test fails when the output ends without one."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            if part in line:
                return line.strip()
        raise AssertionError(f"no line with {part!r} in:\n{''.join(self.output)}")

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and wait until it has ended; the exit status."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE_S)
        self.output.append(rest)
        return self.process.returncode


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Here = Callable[..., Ended]
Run = Callable[..., subprocess.CompletedProcess[str]]
Running = Callable[..., AbstractContextManager[Command]]


@pytest.fixture
def environment() -> dict[str, str]:
    """Ours, without any setting of The Citadel's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CITADEL_")}


@pytest.fixture
def citadel(tmp_path: Path, environment: dict[str, str]) -> Run:
    """`citadel("keys", "list", CITADEL_X=…)` runs to its end, in a folder without a `.env`."""

    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "console.__main__", *arguments],
            cwd=tmp_path,
            env={**environment, **settings},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )

    return run


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    """`here("keys", "list", CITADEL_X=…)` does the same inside this process, without a second's start."""
    for name in [name for name in os.environ if name.startswith("CITADEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **settings: str) -> Ended:
        capsys.readouterr()
        with monkeypatch.context() as context:
            context.setattr(sys, "argv", ["citadel", *arguments])
            for name, value in settings.items():
                context.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main()
        printed = capsys.readouterr()
        return Ended(int(end.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def running(tmp_path: Path, environment: dict[str, str]) -> Running:
    """`with running("up", CITADEL_X=…) as command:`; killed at the end if it still runs."""

    @contextmanager
    def start(*arguments: str, **settings: str) -> Iterator[Command]:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "console.__main__", *arguments],
            cwd=tmp_path,
            env={**environment, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield Command(process)
        finally:
            process.kill()
            process.communicate()

    return start


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[LocalStack]:
    """All four services with one worker, a simulator, and a PostgreSQL of its own that keeps what it has committed."""
    settings = {
        "CITADEL_ENCRYPTION_KEYS": SETTINGS["CITADEL_ENCRYPTION_KEYS"],
        "CITADEL_STATE_SECRET": SETTINGS["CITADEL_STATE_SECRET"],
        "CITADEL_WORKER_LEASE_SECONDS": "3",
    }
    plan = StackPlan(data_dir=tmp_path, settings=settings, simulator=SimulatorPlan(), grace_s=10.0)
    async with LocalStack(plan, embedded(None)) as started:
        yield started


@pytest.fixture
async def stripe(stack: LocalStack) -> AsyncIterator[SimulatorClient]:
    """The simulator of `stack`, sending its webhooks to the ingress."""
    async with SimulatorClient(stack.simulator_url) as control:
        await control.configure_webhooks(url=f"{stack.url(Role.INGRESS)}/webhooks/stripe", max_attempts=40)
        yield control
