"""`citadel tasks`: the same power at a terminal."""

import asyncio
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from console.tasks import tasks_app


def _value(url: str, statement: str, *arguments: Any) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    return asyncio.run(ask())


def _tell(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(tasks_app, list(arguments))
    return result.exit_code, result.output


# No coroutine: a command makes an event loop of its own.
def test_pause_resume_cancel_and_retry(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITADEL_DATABASE_URL", database_url)
    merchant = _value(
        database_url,
        "WITH m AS (INSERT INTO merchants (stripe_connect_id) VALUES ('acct_1') RETURNING id::text AS id) "
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) SELECT id, 'job', '{}' FROM m "
        "RETURNING merchant_id",
    )
    assert _tell("pause", "--type", "job", "--reason", "a test") == (0, "paused\n")
    assert "a test" in _tell("pauses")[1]
    assert _tell("resume", "--type", "job") == (0, "resumed; 0 tasks had been set aside\n")
    assert _tell("resume", "--type", "job")[0] == 1
    assert _tell("pause")[0] == 2
    assert _tell("cancel", "--merchant", merchant) == (0, "1 pending tasks are canceled\n")
    _value(database_url, "UPDATE scheduled_tasks SET status = 'dead'")
    assert _tell("retry", "--all") == (0, "1 dead tasks are pending again\n")
    assert _value(database_url, "SELECT status FROM scheduled_tasks") == "pending"


def test_a_merchant_is_named_by_either_id(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITADEL_DATABASE_URL", database_url)
    merchant = _value(database_url, "INSERT INTO merchants (stripe_connect_id) VALUES ('acct_1') RETURNING id::text")
    for named in ("acct_1", merchant):
        queue = "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) VALUES ($1, 'job', '{}')"
        _value(database_url, queue, merchant)
        assert _tell("pause", "--merchant", named) == (0, "paused\n")
        assert _tell("resume", "--merchant", named)[0] == 0
        assert _tell("cancel", "--merchant", named) == (0, "1 pending tasks are canceled\n")
    assert _tell("cancel", "--merchant", "acct_nobody")[0] == 1
