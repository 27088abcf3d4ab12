"""What is told before anything is started, and what Compose is told."""

import os
from pathlib import Path

import pytest

from console.compose.announce import announcement
from console.compose.stack import SettingsMissing, Stack, StackError
from shared.events.routing import ROUTES

# A `docker` whose first argument is looked up here: 0 answers, another status does not.
FAKE = """#!/bin/sh
case "$1" in
info) echo "Cannot connect to the Docker daemon" >&2; exit {info} ;;
compose) exit {compose} ;;
esac
"""


def machine(folder: Path, *, info: int, compose: int) -> dict[str, str]:
    """The environment of a machine whose Docker answers so."""
    docker = folder / "docker"
    docker.write_text(FAKE.format(info=info, compose=compose))
    docker.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"}


def test_a_machine_without_docker_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="there is no `docker` here: start Docker, or run `make up-local`"):
        Stack(environment={"PATH": str(tmp_path)}).refuse_without_engine()


@pytest.mark.parametrize(
    ("info", "compose", "said"), [(1, 0, "no Docker engine answers"), (0, 1, "Docker has no Compose v2")]
)
def test_a_docker_that_does_not_answer_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: int, compose: int, said: str
) -> None:
    environment = machine(tmp_path, info=info, compose=compose)
    monkeypatch.setenv("PATH", environment["PATH"])
    with pytest.raises(StackError, match=said):
        Stack(environment=environment).refuse_without_engine()


def test_missing_settings_are_listed_together() -> None:
    with pytest.raises(SettingsMissing) as missing:
        Stack(environment={"CITADEL_PUBLIC_URL": "https://pay.example.com"}).refuse_missing_settings()
    assert "2 setting(s) are missing" in str(missing.value)
    assert "CITADEL_STRIPE_CLIENT_ID" in str(missing.value)
    assert "CITADEL_EMAIL_FROM" in str(missing.value)


def test_the_stack_with_the_simulator_needs_no_settings() -> None:
    Stack(simulator=True, environment={}).refuse_missing_settings()


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(StackError, match="CITADEL_EDGE_PORT: expected a port"):
        _ = Stack(environment={"CITADEL_EDGE_PORT": port}).edge_port


def test_the_settings_of_the_folders_env_file_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("# ours\nCITADEL_PUBLIC_URL=https://pay.example.com/\n")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CITADEL_")]:
        monkeypatch.delenv(name)
    assert Stack.here(simulator=False).public_url == "https://pay.example.com"
    assert Stack.here(simulator=True).public_url == "https://localhost:8443"


def test_the_two_stacks_share_neither_name_nor_secrets() -> None:
    real, simulated = Stack(environment={}), Stack(simulator=True, environment={})
    assert real.name != simulated.name
    assert real.secrets != simulated.secrets


def test_the_announcement_says_what_stripe_has_to_be_told() -> None:
    text = "\n".join(announcement("https://pay.example.com", None))
    assert "https://pay.example.com/webhooks/stripe" in text
    assert "https://pay.example.com/auth/stripe/callback" in text
    assert all(event in text for event in ROUTES)
