"""The real stack in real containers: built once, shared by all tests of this folder, removed afterwards.

The images' bases come from CITADEL_PYTHON_IMAGE, CITADEL_POSTGRES_IMAGE and CITADEL_DEBIAN_IMAGE. Without a Docker
engine every test here is skipped, and says so.
"""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from console.compose.secrets import make_secrets
from console.compose.stack import Stack, StackError
from shared.database import Role

PROJECT = "citadel-test"
OURS = tuple(role.service for role in Role)
SERVICES = ("postgres", *OURS, "edge")


@dataclass(frozen=True, slots=True)
class Deployed:
    """The running stack, and Docker's own view of it."""

    stack: Stack
    engine: Any
    started_in_s: float

    def containers(self, service: str, *, all_of_them: bool = False) -> list[Any]:
        """The containers of one service, the oldest first."""
        labels = [f"com.docker.compose.project={PROJECT}", f"com.docker.compose.service={service}"]
        found: list[Any] = self.engine.containers.list(all=all_of_them, filters={"label": labels})
        return sorted(found, key=lambda each: int(each.labels["com.docker.compose.container-number"]))

    def container(self, service: str) -> Any:
        """The first container of a service, freshly looked at."""
        return self.containers(service, all_of_them=True)[0]

    def sh(self, service: str, *command: str, user: str = "") -> tuple[int, str]:
        """Run a command in a service's container: its status and what it printed."""
        done = self.container(service).exec_run(list(command), user=user)
        return done.exit_code, done.output.decode(errors="replace")

    def python(self, service: str, code: str) -> tuple[int, str]:
        """Run Python in one of our containers."""
        return self.sh(service, "python", "-IS", "-c", code)

    def health(self, service: str) -> str:
        """`healthy`, `unhealthy` or `starting`."""
        state: str = self.container(service).attrs["State"]["Health"]["Status"]
        return state

    def address(self, container: Any) -> str:
        """Where this machine reaches a container."""
        address: str = container.attrs["NetworkSettings"]["Networks"][f"{PROJECT}_data"]["IPAddress"]
        return address

    def secret(self, name: str) -> str:
        """The content of one of the stack's secrets."""
        return (self.stack.secrets / name).read_text().strip()


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """Docker's engine, or a skip that says why."""
    try:
        Stack(simulator=True).refuse_without_engine()
    except StackError as error:
        pytest.skip(str(error))
    client = docker.from_env(timeout=120)
    yield client
    client.close()


@pytest.fixture(scope="session")
def deployed(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The whole stack with the simulator, from nothing, on ports that are free."""
    secrets: Path = tmp_path_factory.mktemp("compose") / "secrets"
    settings = {
        "CITADEL_SECRETS": str(secrets),
        "CITADEL_EDGE_ADDRESS": "127.0.0.1",
        "CITADEL_EDGE_PORT": str(free_port()),
        "CITADEL_VERSION": "test",
    }
    stack = Stack(simulator=True, project=PROJECT, settings=settings, environment=dict(os.environ))
    make_secrets(stack)
    stack.down(volumes=True)  # of a run that was killed
    try:
        stack.build()
        began = time.monotonic()
        stack.up()
        yield Deployed(stack, engine, time.monotonic() - began)
    finally:
        stack.down(volumes=True)


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
