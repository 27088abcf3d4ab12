"""`citadel policy` and `citadel recovery`, against a real database."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from console.__main__ import app
from console.policy import policy_app
from shared import recoveries
from shared.database import Connection, Database, Role
from shared.ids import CustomerId, InvoiceId, MerchantId, RecoveryId, SubscriptionId
from shared.money import Money
from shared.policy import Policy
from shared.recovery_model import Entry, EntryKind, FailedInvoice
from tests.world import CONNECT, open_recovery

UNKNOWN = MerchantId("m1")

Citadel = Callable[..., Result]
T = TypeVar("T")


@pytest.fixture
def citadel(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Citadel:
    """The command, in a process-like way: its own event loop, settings from the environment."""
    monkeypatch.setenv("CITADEL_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *words, **options: runner.invoke(app, [str(word) for word in words], **options)


def _document(tmp_path: Path, **document: object) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(document))
    return path


def test_a_policy_goes_from_a_file_into_force_and_back(citadel: Citadel, tmp_path: Path) -> None:
    made = citadel("policy", "create", _document(tmp_path, window_days=10, message_days=[0]), "--note", "short")
    policy_id = made.stdout.strip().splitlines()[-1]
    assert str(UUID(policy_id)) == policy_id
    assert "in force: version 7" in citadel("policy", "activate", policy_id).stdout
    listed = citadel("policy", "list").stdout
    (line,) = [each for each in listed.splitlines() if policy_id in each]
    assert "in force" in line
    assert "short" in line
    before = next(each.split()[0] for each in listed.splitlines() if each.split()[1:2] == ["6"])
    diff = citadel("policy", "diff", before, policy_id).stdout
    assert diff.splitlines() == ["window_days: 21 -> 10", "message_days: [0,3,7,14,21] -> [0]"]
    assert json.loads(citadel("policy", "show", policy_id).stdout)["window_days"] == 10
    assert "in force: version 6" in citadel("policy", "rollback").stdout


def test_every_problem_is_listed_with_its_place(citadel: Citadel, tmp_path: Path) -> None:
    for command in ("validate", "create"):
        refused = citadel("policy", command, _document(tmp_path, window_days=0, driver="me", message_days=[2, 1]))
        assert refused.exit_code == 2
        places = {line.split(":")[0] for line in refused.stderr.splitlines()}
        assert {"window_days", "driver", "message_days"} <= places


def test_the_default_is_a_file_to_start_from(citadel: Citadel, tmp_path: Path) -> None:
    printed = citadel("policy", "default").stdout
    (tmp_path / "default.json").write_text(printed)
    assert citadel("policy", "validate", tmp_path / "default.json").exit_code == 0
    assert Policy.model_validate_json(printed) == Policy.default()
    assert "properties" in json.loads(citadel("policy", "schema").stdout)


def _in_database(url: str, role: Role, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Commands bring their own event loop, so the test has one of its own for a moment only."""

    async def inside() -> T:
        async with Database.open(url, role, size=1) as database, database.transaction() as db:
            return await work(db)

    return asyncio.run(inside())


def _open(url: str, invoice: str, decided: Entry | None = None, merchant_id: MerchantId = UNKNOWN) -> RecoveryId:
    async def work(db: Connection) -> RecoveryId:
        failed = FailedInvoice(
            merchant_id, InvoiceId(invoice), SubscriptionId("sub_1"), CustomerId("cus_1"), Money(4200, "eur")
        )
        made = await open_recovery(db, failed, Entry(EntryKind.OPENED, "renewal_failed", "The renewal failed."))
        assert made is not None
        if decided is not None:
            await recoveries.record(db, made, decided)
        return made

    return _in_database(url, Role.INGRESS, work)


def test_moving_says_first_what_changes_and_does_exactly_that(
    database_url: str, citadel: Citadel, tmp_path: Path
) -> None:
    first = _open(database_url, "in_1")

    target = citadel("policy", "create", _document(tmp_path, window_days=9, message_days=[]))
    policy_id = target.stdout.strip().splitlines()[-1]
    shown = citadel("policy", "move", policy_id)
    assert "1 recoveries would move" in shown.stdout
    assert "in_1" in shown.stdout
    token = shown.stdout.split("--yes ")[1].split()[0]
    second = _open(database_url, "in_2")
    refused = citadel("policy", "move", policy_id, "--yes", token)
    assert refused.exit_code == 1
    again = citadel("policy", "move", policy_id)
    token = again.stdout.split("--yes ")[1].split()[0]
    moved = citadel("policy", "move", policy_id, "--yes", token)
    assert "2 recoveries moved" in moved.stdout

    async def look(db: Connection) -> tuple[set[str], set[UUID], int]:
        rows = await db.fetch("SELECT id, policy_id FROM recoveries")
        told = await db.fetch("SELECT recovery_id FROM recovery_timeline WHERE rule = 'policy_moved'")
        pending = await db.fetchval("SELECT count(*) FROM scheduled_tasks WHERE status = 'pending'")
        return {str(row["policy_id"]) for row in rows}, {row["recovery_id"] for row in told}, pending

    assert _in_database(database_url, Role.WORKER, look) == ({policy_id}, {first, second}, 2)


def test_a_recovery_is_told_with_its_rules(database_url: str, citadel: Citadel) -> None:
    reason = {
        "rule": "schedule",
        "text": "Later.",
        "inputs": {"cause": "do_not_honor"},
        "considered": [{"action": "attempt_now", "rejected_because": "not [yet]"}],
    }
    _open(database_url, "in_9", Entry(EntryKind.DECIDED, "schedule", "Later.", {"reason": reason}, "attempt"))
    shown = citadel("recovery", "show", "in_9")
    assert "rule schedule  cause=do_not_honor" in shown.stdout
    assert "not attempt_now: not [yet]" in shown.stdout
    assert "next attempt" in shown.stdout
    exported = json.loads(citadel("recovery", "show", "in_9", "--json").stdout)
    assert exported["timeline"][1]["detail"]["reason"] == reason
    assert citadel("recovery", "show", "in_none").exit_code == 1


def test_a_recovery_is_found_by_either_id_of_its_merchant(database_url: str, citadel: Citadel) -> None:
    async def connect(db: Connection) -> MerchantId:
        merchant_id: MerchantId = await db.fetchval(CONNECT, "acct_shown", None, None)
        return merchant_id

    merchant_id = _in_database(database_url, Role.AUTH, connect)
    shown_id = _open(database_url, "in_9", merchant_id=merchant_id)
    _open(database_url, "in_9")
    for named in ("acct_shown", merchant_id):
        shown = citadel("recovery", "show", "in_9", "--merchant", named)
        assert str(shown_id) in shown.stdout
    assert "2 merchants have an invoice in_9" in citadel("recovery", "show", "in_9").stderr
    unknown = citadel("recovery", "show", "in_9", "--merchant", "acct_nobody")
    assert (unknown.exit_code, unknown.stderr.strip()) == (1, "citadel: there is no merchant acct_nobody")


def test_policies_and_keys_are_made_for_a_merchant_by_either_id(
    database_url: str, citadel: Citadel, tmp_path: Path
) -> None:
    async def connect(db: Connection) -> MerchantId:
        merchant_id: MerchantId = await db.fetchval(CONNECT, "acct_shown", None, None)
        return merchant_id

    merchant_id = _in_database(database_url, Role.AUTH, connect)
    for named in ("acct_shown", merchant_id):
        made = citadel("policy", "create", _document(tmp_path), "--merchant", named)
        assert made.exit_code == 0
        policy_id = made.stdout.strip().splitlines()[-1]
        assert merchant_id in citadel("policy", "activate", policy_id).stdout
        assert policy_id in citadel("policy", "list", "--merchant", named).stdout
        assert citadel("keys", "create", "shop", "--merchant", named).exit_code == 0
    assert citadel("policy", "rollback", "--merchant", "acct_shown").exit_code == 0
    assert citadel("keys", "list").stdout.count(merchant_id) == 2
    for command in (("policy", "list"), ("keys", "create", "x")):
        assert citadel(*command, "--merchant", "acct_nobody").exit_code == 2


def test_every_command_has_a_line_of_help(citadel: Citadel) -> None:
    for command in policy_app.registered_commands:
        assert citadel("policy", command.name or "", "--help").exit_code == 0
