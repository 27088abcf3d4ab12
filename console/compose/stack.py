"""The stack in containers: the `docker compose` command lines, and the checks before and after them.

Problems that can be found beforehand are reported before anything is changed: no Docker engine, a port in use, a
missing secret. The stack with the simulator has a name, secrets and a volume of its own, apart from real merchants.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

FOLDER: Final = Path(__file__).resolve().parents[2] / "deploy" / "compose"
EDGE_PORT: Final = 8443
SIMULATOR_PORT: Final = 12111
WAIT_SECONDS: Final = 240


class StackError(Exception):
    """It cannot be done; the message says why, and what to do."""


class SettingsMissing(StackError):
    """Settings without a default are missing; the message lists them."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack. `settings` override the environment, `.env` and, with the simulator, its own file."""

    simulator: bool = False
    project: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    env_file: Path | None = None

    @classmethod
    def here(cls, *, simulator: bool) -> "Stack":
        """The stack of this folder, with the settings of its `.env`, which the simulator's stack does not read."""
        env_file = Path(".env")
        return cls(simulator=simulator, env_file=env_file if env_file.exists() and not simulator else None)

    @property
    def name(self) -> str:
        """The name of the Compose project, from which containers, networks and volumes have their names."""
        return self.project or ("citadel-simulator" if self.simulator else "citadel")

    def setting(self, name: str, default: str) -> str:
        """One of the stack's own settings."""
        return self.settings.get(name) or self.environment.get(name) or self._from_files().get(name) or default

    @property
    def secrets(self) -> Path:
        """The folder of its secrets."""
        return (FOLDER / self.setting("CITADEL_SECRETS", "./secrets")).resolve()

    @property
    def public_url(self) -> str:
        """Where the edge is reached from outside."""
        return self.setting("CITADEL_PUBLIC_URL", f"https://localhost:{self.edge_port}").rstrip("/")

    @property
    def edge_port(self) -> int:
        """The edge's port on this machine."""
        return _port("CITADEL_EDGE_PORT", self.setting("CITADEL_EDGE_PORT", str(EDGE_PORT)))

    @property
    def simulator_port(self) -> int:
        """The simulator's port on this machine."""
        return _port("CITADEL_SIMULATOR_PORT", self.setting("CITADEL_SIMULATOR_PORT", str(SIMULATOR_PORT)))

    # -- what compose is told --------------------------------------------------------------------

    def command(self, *arguments: str) -> list[str]:
        """`docker compose` for this stack, with these arguments."""
        files = [argument for file in self._env_files() for argument in ("--env-file", str(file))]
        profile = ["--profile", "simulator"] if self.simulator else []
        return ["docker", "compose", "--project-name", self.name, "--file", str(FOLDER / "compose.yaml"), *files,
                *profile, *arguments]  # fmt: skip

    def run(self, *arguments: str, quiet: bool = False) -> str:
        """Run it; returns its output. Raises StackError with the end of the output when it fails."""
        done = subprocess.run(  # noqa: S603 - our own arguments, no shell
            self.command(*arguments),
            env=self._compose_environment(),
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else None,
        )
        if done.returncode:
            said = "\n".join((done.stderr or "").strip().splitlines()[-15:])
            raise StackError(f"docker compose {arguments[0]} failed{': ' + said if said else ', see above'}")
        return done.stdout

    def _env_files(self) -> Iterator[Path]:
        if self.env_file is not None:
            yield self.env_file
        if self.simulator:
            yield FOLDER / "simulator.env"

    def _from_files(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for file in self._env_files():
            for line in file.read_text().splitlines():
                name, equals, value = line.partition("=")
                if equals and not name.startswith("#"):
                    found[name.strip()] = value.strip()
        return found

    def _compose_environment(self) -> dict[str, str]:
        # Secrets in the environment do not belong to this stack, which has files for them.
        kept = {name: value for name, value in self.environment.items() if not name.endswith(("_KEY", "_SECRETS"))}
        stack = {"CITADEL_SECRETS": str(self.secrets), "CITADEL_PUBLIC_URL": self.public_url}
        return {**kept, **self.settings, **stack}

    # -- before ----------------------------------------------------------------------------------

    def refuse_without_engine(self) -> None:
        """Raise StackError when no Docker engine with Compose v2 answers."""
        hint = "start Docker, or run `make up-local`, which needs none"
        if shutil.which("docker", path=self.environment.get("PATH")) is None:
            raise StackError(f"there is no `docker` here: {hint}")
        for what, command in (
            ("no Docker engine answers", ["docker", "info", "--format", "{{.ServerVersion}}"]),
            ("Docker has no Compose v2", ["docker", "compose", "version", "--short"]),
        ):
            done = subprocess.run(  # noqa: S603 - constants
                command, env=dict(self.environment), capture_output=True, text=True, check=False, timeout=30
            )
            if done.returncode:
                said = [line for line in done.stderr.splitlines() if line.strip() and "template:" not in line]
                raise StackError("\n  ".join([f"{what}: {hint}", *said[-1:]]))

    def refuse_missing_settings(self) -> None:
        """Raise SettingsMissing with every missing setting that has no default."""
        if self.simulator:
            return
        needed = {
            "CITADEL_STRIPE_CLIENT_ID": "the platform's Connect client id: https://dashboard.stripe.com/settings/connect",
            "CITADEL_PUBLIC_URL": "https://… where the edge is reached from outside; Stripe sends browsers back there",
            "CITADEL_EMAIL_FROM": "the sender of all emails: Name <address>",
        }
        missing = [f"  {name}: {what}" for name, what in needed.items() if not self.setting(name, "")]
        if missing:
            where = "in .env or the environment"
            raise SettingsMissing("\n".join([f"{len(missing)} setting(s) are missing; set each {where}:", *missing]))

    def refuse_taken_ports(self) -> None:
        """Raise StackError when a port to be published is in use by others; a running stack may use its own."""
        if self.running():
            return
        wanted = {"CITADEL_EDGE_PORT": self.edge_port}
        if self.simulator:
            wanted["CITADEL_SIMULATOR_PORT"] = self.simulator_port
        taken = [f"  {port}: choose another with {name}" for name, port in wanted.items() if not _is_free(port)]
        if taken:
            raise StackError("\n".join(["somebody listens already at", *taken]))

    # -- its life --------------------------------------------------------------------------------

    def build(self) -> None:
        """Build all images; unchanged layers are reused."""
        self.run("build", "--quiet")

    def up(self) -> None:
        """Start what does not run, replace what has changed, and wait until everything is healthy."""
        services = [name for name in self.services() if name != "migrate"]
        # `--wait` treats a container that has done its work and ended as a failure; the others wait for that one.
        self.run("up", "--detach", "--wait", "--wait-timeout", str(WAIT_SECONDS), "--no-build", *services)

    def down(self, *, volumes: bool) -> None:
        """Stop and remove the containers and networks; with `volumes` the database, too."""
        self.run("down", "--remove-orphans", *(["--volumes"] if volumes else []))

    def services(self) -> list[str]:
        """The services of this stack."""
        return self.run("config", "--services", quiet=True).split()

    def running(self) -> list[dict[str, Any]]:
        """Its containers that exist, as `docker compose ps` describes them."""
        listed = self.run("ps", "--all", "--format", "json", quiet=True)
        return [orjson.loads(line) for line in listed.splitlines() if line.strip()]


def _port(name: str, value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise StackError(f"{name}: expected a port, got {value!r}")
    return int(value)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - only looked at, as Docker will
        except OSError:
            return False
    return True
