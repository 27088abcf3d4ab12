"""`citadel report` and `citadel silences`, against a real database."""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typer.testing import CliRunner, Result

from console.__main__ import app
from services.ledger.reports.endpoints import REPORT_COLUMNS
from services.worker.recovery import in_holdout
from shared.database import Connection, Database
from shared.ids import InvoiceId
from shared.policy import Policy

Citadel = Callable[..., Result]
T = TypeVar("T")

SHARE = 0.4
INSERT_RECOVERY = """
INSERT INTO recoveries (merchant_id, invoice_id, customer_id, amount_due, currency, policy_id, opened_at, closed_at,
    state, end_reason, recovered_by, amount_recovered, first_cause)
VALUES ($1, $2, 'cus_1', 1000, 'usd', $3, now() - interval '40 days', now() - interval '30 days', $4, $5, $6, $7, $8)
"""


@pytest.fixture
def citadel(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Citadel:
    """The command, in a process-like way: its own event loop, settings from the environment."""
    monkeypatch.setenv("CITADEL_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(word) for word in words])


def _in_database(url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def inside() -> T:
        async with Database.open(url, None, size=1) as database, database.transaction() as db:
            return await work(db)

    return asyncio.run(inside())


def _past(url: str, held: int) -> None:
    """The merchant acct_1 with 100 of the treatment, of which our retries got 70, and `held` of which nobody paid."""

    async def work(db: Connection) -> None:
        merchant = await db.fetchval("INSERT INTO merchants (stripe_connect_id) VALUES ('acct_1') RETURNING id::text")
        await db.execute("INSERT INTO merchants (stripe_connect_id) VALUES ('acct_2')")
        policy = await db.fetchval(
            "INSERT INTO policies (merchant_id, version, document) VALUES ($1, 1, $2) RETURNING id",
            merchant,
            Policy(holdout_share=SHARE).model_dump(mode="json"),
        )
        await db.execute("SET LOCAL session_replication_role = replica")
        left = {False: 100, True: held}
        number = 0
        while any(left.values()):
            invoice, number = InvoiceId(f"in_{number}"), number + 1
            group = in_holdout(Policy(holdout_share=SHARE), invoice)
            if not left[group]:
                continue
            left[group] -= 1
            paid = not group and left[group] < 70
            state, why = ("recovered", "paid_by_retry") if paid else ("exhausted", "window_over")
            by, amount = ("retry", 1000) if paid else (None, 0)
            await db.execute(INSERT_RECOVERY, merchant, invoice, policy, state, why, by, amount, "do_not_honor")

    _in_database(url, work)


def test_the_report_is_told_printed_and_exported_alike(database_url: str, citadel: Citadel) -> None:
    _past(database_url, held=50)
    told = citadel("report", "recoveries", "--merchant", "acct_1", "--by", "cause")
    assert told.exit_code == 0
    assert "do_not_honor" in told.stdout
    assert "+70.0 points" in told.stdout
    assert "(70 of 100, holdout 0 of 50)" in told.stdout

    found = json.loads(citadel("report", "recoveries", "--merchant", "acct_1", "--by", "cause", "--json").stdout)
    (group,) = found["data"]
    assert group["lift"]["verdict"] == "gain"
    assert (found["group_by"], "from" in found, group["money"][0]["recovered"]["count"]) == ("cause", True, 70)

    printed = citadel("report", "recoveries", "--merchant", "acct_1", "--by", "cause", "--csv").stdout
    (row,) = csv.DictReader(io.StringIO(printed, newline=""))
    assert tuple(row) == REPORT_COLUMNS
    assert float(row["group_lift"]) == group["lift"]["difference"] == 0.7
    assert row["recovered_amount"] == "70000"
    for other in ("policy_version", "currency", "cohort_week", "attribution"):
        assert citadel("report", "recoveries", "--by", other).exit_code == 0


def test_too_little_is_said_to_be_too_little(database_url: str, citadel: Citadel) -> None:
    _past(database_url, held=29)
    assert "not enough data: fewer than 30" in citadel("report", "recoveries").stdout
    assert "None." in citadel("report", "recoveries", "--merchant", "acct_2").stdout


def _predicted(url: str) -> None:
    """Attempts of acct_1: of 40 with 85 % after `try_later` 30 succeeded, of 4 with 20 % one; two have no outcome."""

    async def work(db: Connection) -> None:
        merchant = await db.fetchval("SELECT id::text FROM merchants WHERE stripe_connect_id = 'acct_1'")
        await db.execute("SET LOCAL session_replication_role = replica")
        recoveries = [row["id"] for row in await db.fetch("SELECT id FROM recoveries LIMIT 46")]
        results = ["succeeded"] * 30 + ["declined"] * 10 + ["succeeded"] + ["declined"] * 3 + ["started"] * 2
        for number, (recovery, result) in enumerate(zip(recoveries, results, strict=True)):
            chance, cause = (0.85, "try_later") if number < 40 else (0.2, "insufficient_funds")
            await db.execute(
                "INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, result, amount, "
                "currency, predicted_chance, after_cause) VALUES ($1, $2, 'citadel', 1, $3, $4, 1, 'usd', $5, $6)",
                recovery,
                merchant,
                str(number),
                result,
                chance,
                cause,
            )

    _in_database(url, work)


def test_calibration_is_told_by_cause_and_printed_as_the_api_would(database_url: str, citadel: Citadel) -> None:
    _past(database_url, held=0)
    assert "None: only schedules of the kind" in citadel("report", "calibration").stdout
    _predicted(database_url)
    mine = ("report", "calibration", "--merchant", "acct_1")

    told = citadel(*mine)
    assert told.exit_code == 0
    rows = [line.split() for line in told.stdout.splitlines()]
    head = next(row for row in rows if row[:1] == ["cause"])
    assert head[1:4] == ["attempts", "predicted", "succeeded"]
    assert ["try_later", "40", "85.0%", "75.0%", "59.8%", "to", "85.8%", "0.100"] in [row[:8] for row in rows]
    funds = next(row for row in rows if row[:2] == ["insufficient_funds", "4"])
    assert funds[-2:] == ["2", "-"]
    assert next(row for row in rows if row[:2] == ["all", "44"])[2:4] == ["79.1%", "70.5%"]
    assert "  try_later: predicted 85.0%, succeeded 75.0% (59.8% to 85.8%): as predicted" in told.stdout
    assert ["80%", "to", "90%", "40", "85.0%", "75.0%", "59.8%", "to", "85.8%"] in rows
    assert ["90%", "to", "100%", "-", "-", "-", "-"] in rows

    found = json.loads(citadel(*mine, "--json").stdout)
    assert ("from" in found, found["group_by"], found["total"]["attempts"]) == (True, "cause", 44)
    assert [each["group"] for each in found["data"]] == ["try_later", "insufficient_funds"]
    by_merchant = json.loads(citadel("report", "calibration", "--by", "merchant", "--json").stdout)
    (only,) = by_merchant["data"]
    assert (only["attempts"], only["without_outcome"]) == (44, 2)
    assert "None" in citadel("report", "calibration", "--merchant", "acct_2").stdout


def _learned(url: str) -> None:
    """What was learned of the customers of acct_1, and that nothing clear was of those of acct_2."""

    async def work(db: Connection) -> None:
        text = "Most of your customers seem to be paid on the 25th (54% of those who wait for wages; 3% expected)."
        told = [{"about": "payday", "text": text, "share": 0.54, "expected": 0.03}]
        for account, found in (("acct_1", told), ("acct_2", [])):
            await db.execute(
                "INSERT INTO learned_beliefs "
                "(merchant_id, looked_at, learned_at, recoveries, layout, belief, differences) "
                "SELECT id::text, now(), '2026-11-01 09:30Z', 1300, 'any', '{}', $2 "
                "FROM merchants WHERE stripe_connect_id = $1",
                account,
                found,
            )

    _in_database(url, work)


def test_a_merchant_whose_customers_differ_is_told_so(database_url: str, citadel: Citadel) -> None:
    _past(database_url, held=0)
    report = ("report", "calibration", "--merchant")
    assert "nothing was learned, so far" in citadel(*report, "acct_1").stdout
    _learned(database_url)
    _predicted(database_url)
    sentence = "paid on the 25th (54% of those who wait for wages; 3% expected)."
    for words in ((*report, "acct_1"), ("learning", "show", "--merchant", "acct_1")):
        told = citadel(*words).stdout
        assert "learned at 2026-11-01 09:30 UTC from 1,300 recoveries:" in told
        assert sentence in told
    assert "1,300 recoveries: nothing that clearly differs from what was expected" in citadel(*report, "acct_2").stdout
    found = json.loads(citadel(*report, "acct_1", "--json").stdout)["learned"]
    assert (found["recoveries"], found["differences"][0]["share"]) == (1300, 0.54)
    assert "nothing was learned, so far" in citadel("report", "calibration").stdout, "of the pool"


def test_a_merchant_leaves_the_pool_and_comes_back_by_hand(database_url: str, citadel: Citadel) -> None:
    _past(database_url, held=0)
    mine = ("--merchant", "acct_1")
    assert citadel("learning", "show", *mine).stdout.startswith("in the pool\n")
    assert citadel("learning", "opt-out", *mine).exit_code == 0
    assert citadel("learning", "show", *mine).stdout.startswith("not in the pool since ")
    assert json.loads(citadel("learning", "show", "--merchant", "acct_2", "--json").stdout)["in_pool"] is True
    assert citadel("learning", "opt-in", *mine).exit_code == 0
    assert citadel("learning", "show", *mine).stdout.startswith("in the pool\n")
    refused = citadel("learning", "opt-out", "--merchant", "acct_none")
    assert (refused.exit_code, "acct_none" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--merchant", "acct_none"), 1),
        (("--by", "weather"), 2),
        (("--from", "2026-02-30"), 2),
        (("--from", "2020-01-01", "--to", "2026-01-01"), 2),
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused(citadel: Citadel, words: tuple[str, ...], status: int) -> None:
    refused = citadel("report", "calibration", *words)
    assert refused.exit_code == status
    assert refused.stderr


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--merchant", "acct_none"), 1),
        (("--by", "weather"), 2),
        (("--csv", "--json"), 2),
        (("--from", "2026-02-30"), 2),
        (("--from", "2020-01-01", "--to", "2026-01-01"), 2),
    ],
)
def test_what_makes_no_sense_is_refused(citadel: Citadel, words: tuple[str, ...], status: int) -> None:
    refused = citadel("report", "recoveries", *words)
    assert refused.exit_code == status
    assert refused.stderr


def test_a_customer_is_silenced_and_lifted_by_hand(database_url: str, citadel: Citadel) -> None:
    _past(database_url, held=0)
    mine = ("--merchant", "acct_1")
    assert "is not written to" in citadel("silences", "add", "cus_1", *mine, "--reason", "complained").stdout
    assert "so already" in citadel("silences", "add", "cus_1", *mine, "--reason", "complained").stdout
    assert "cus_1     complained" in citadel("silences", "list", *mine).stdout
    (line,) = citadel("silences", "list", *mine, "--json").stdout.splitlines()
    assert json.loads(line)["reason"] == "complained"
    assert citadel("silences", "list", "--merchant", "acct_2", "--json").stdout == ""

    assert citadel("silences", "lift", "cus_1", "--merchant", "acct_2").exit_code == 1
    assert citadel("silences", "lift", "cus_1", *mine, "--reason", "bounced").exit_code == 1
    assert "lifted 1 of cus_1" in citadel("silences", "lift", "cus_1", *mine).stdout
    for command in (("add",), ("lift",)):
        refused = citadel("silences", *command, "ada@example.com", *mine)
        assert (refused.exit_code, "never an address" in refused.stderr) == (2, True)

    async def tasks(db: Connection) -> list[Any]:
        rows = await db.fetch("SELECT payload FROM scheduled_tasks WHERE task_type = 'follow_silence' ORDER BY id")
        return [row["payload"]["change"] for row in rows]

    assert _in_database(database_url, tasks) == ["silenced", "lifted"]
