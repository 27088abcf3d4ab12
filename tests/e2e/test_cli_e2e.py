"""The command `citadel`: what it prints, and what it ends with."""

import signal
import socket
from pathlib import Path

import pytest

from shared.database import Role
from shared.migrations import HEAD
from tests.e2e.conftest import FREE_PORTS, SETTINGS, Here, Running

pytestmark = pytest.mark.e2e

NOBODY_THERE = "postgresql://nobody:secret-word@127.0.0.1:1/nothing"


def test_up_lists_every_missing_setting_before_anything_starts(here: Here, tmp_path: Path) -> None:
    ended = here("up", CITADEL_WORKER_PORT="70000")

    assert ended.returncode == 2
    needed = [name for name in SETTINGS if f"{name}:" not in ended.stderr]
    assert needed == []
    assert "CITADEL_WORKER_PORT:" in ended.stderr
    assert "CITADEL_DATABASE_URL" not in ended.stderr  # it brings one along
    assert not (tmp_path / ".citadel").exists()


def test_up_serves_says_what_stripe_needs_and_ends_with_0(running: Running, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{database_url}\n")
    with running("up", "--workers", "2", CITADEL_DATABASE_URL_FILE="url", **SETTINGS, **FREE_PORTS) as up:
        ingress = up.line_with("ingress").split()[1] if up.line_with("The Citadel runs") else ""
        redirect = up.line_with("redirect")

        assert ingress.startswith("http://127.0.0.1:")
        assert "http://127.0.0.1:8002/auth/stripe/callback" in redirect
        assert up.end(signal.SIGTERM) == 0
    output = "".join(up.output)
    assert "invoice.payment_failed" in output
    assert "worker 2" in output
    assert output.rstrip().endswith("stopped")


def test_up_refuses_a_taken_port_without_a_traceback(here: Here, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = {**SETTINGS, **FREE_PORTS, "CITADEL_LEDGER_PORT": port}
        ended = here("up", CITADEL_DATABASE_URL=database_url, **settings)

    assert ended.returncode == 1
    assert f"{port} ({Role.LEDGER.service})" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", [["migrate"], ["keys", "list"], ["demo", "--small"]], ids=" ".join)
def test_a_database_that_is_away_is_one_line_and_a_1(here: Here, command: list[str]) -> None:
    ended = here(*command, CITADEL_DATABASE_URL=NOBODY_THERE)

    assert ended.returncode == 1
    assert ended.stderr.startswith("citadel: ")
    assert "Traceback" not in ended.stderr
    assert "secret-word" not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["keys", "create"],
        ["keys", "create", "name", "--scope", "everything"],
        ["keys", "revoke", "not-an-id"],
        ["keys", "rotate"],
        ["demo", "--days", "0"],
        ["up", "--workers", "0"],
        ["no-such-command"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_a_2_with_a_message(here: Here, arguments: list[str]) -> None:
    ended = here(*arguments)

    assert ended.returncode == 2
    assert ended.stderr.strip()
    assert "Traceback" not in ended.stderr


def test_migrate_can_be_repeated_and_refuses_an_unknown_revision(here: Here, database_url: str) -> None:
    again = here("migrate", CITADEL_DATABASE_URL=database_url)
    unknown = here("migrate", "--to", "9999", CITADEL_DATABASE_URL=database_url)

    assert (again.returncode, again.stdout.strip()) == (0, f"the schema is at {HEAD}")
    assert unknown.returncode == 2
    assert "9999" in unknown.stderr


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(here: Here, database_url: str) -> None:
    made = here("keys", "create", "dashboard", "--days", "30", CITADEL_DATABASE_URL=database_url)
    secret, ident = made.stdout.strip(), made.stderr.split()[1]
    listed = here("keys", "list", CITADEL_DATABASE_URL=database_url)
    revoked = here("keys", "revoke", ident, CITADEL_DATABASE_URL=database_url)
    again = here("keys", "revoke", ident, CITADEL_DATABASE_URL=database_url)

    assert secret.startswith("ctdl_")
    assert secret not in made.stderr
    assert ident in listed.stdout
    assert "dashboard" in listed.stdout
    assert "valid" in listed.stdout
    assert secret not in listed.stdout
    assert revoked.returncode == 0
    assert again.returncode == 1


def test_generated_keys_are_settings_that_rotate_takes(here: Here, database_url: str) -> None:
    lines = here("keys", "generate").stdout.splitlines()
    settings = dict(line.split("=", 1) for line in lines if line.startswith("CITADEL_"))

    rotated = here("keys", "rotate", CITADEL_DATABASE_URL=database_url, **settings)

    assert set(settings) == {"CITADEL_ENCRYPTION_KEYS", "CITADEL_STATE_SECRET", "CITADEL_UNSUBSCRIBE_SECRETS"}
    assert len(settings["CITADEL_STATE_SECRET"]) >= 32
    assert rotated.returncode == 0, rotated.stderr


def test_version_names_code_and_schema(here: Here) -> None:
    assert here("version").stdout.strip().endswith(f"schema {HEAD}")
