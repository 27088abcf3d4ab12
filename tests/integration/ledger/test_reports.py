"""The report on recoveries and the exports, over rows whose sums are known."""

import csv
import io
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from services.ledger.api import csv_export
from services.ledger.api.csv_export import BATCH, CsvFile, cell, parts
from services.ledger.reports.endpoints import REPORT_COLUMNS
from services.ledger.reports.lift import Group, Stratum, lift_of
from services.ledger.reports.store import EXPORT_COLUMNS, select_export
from services.worker.recovery import in_holdout
from shared import recoveries
from shared.api_keys import Scope
from shared.database import Role
from shared.ids import InvoiceId, MerchantId
from shared.policy import Policy
from shared.recovery_model import Entry, EntryKind, RecoveryState
from tests.conftest import OpenDatabase
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=40)
A_MONDAY = (LONG_AGO - timedelta(days=LONG_AGO.weekday())).replace(hour=12, minute=0, second=0, microsecond=0)

INSERT_POLICY = """
INSERT INTO policies (merchant_id, version, document)
SELECT $1, COALESCE(max(version), 0) + 1, $2 FROM policies WHERE merchant_id IS NOT DISTINCT FROM $1
RETURNING id
"""
INSERT_RECOVERY = """
INSERT INTO recoveries (merchant_id, invoice_id, subscription_id, customer_id, amount_due, currency, policy_id,
    opened_policy_id, opened_at, state, end_reason, closed_at, recovered_by, amount_recovered, first_cause,
    decline_cause)
SELECT $1, COALESCE($2, 'in_' || gen_random_uuid()), 'sub_1', 'cus_1', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
    $14
RETURNING id, invoice_id
"""

PAID_BY = {
    "retry": ("recovered", "paid_by_retry", "retry"),
    "message": ("recovered", "paid_after_message", "message"),
    "customer": ("stopped", "paid_elsewhere", None),
    "stripe": ("stopped", "paid_elsewhere", None),
    "unpaid": ("exhausted", "window_over", None),
    "voided": ("stopped", "voided", None),
    "open": ("waiting", None, None),
}


@dataclass
class Past:
    """Writes recoveries as they would stand there after weeks."""

    world: World
    merchant: MerchantId

    async def policy(self, of_platform: bool = False, **document: Any) -> UUID:
        """Another version of the merchant's policy."""
        whole = Policy.model_validate(document).model_dump(mode="json")
        made: UUID = await self.world.value(INSERT_POLICY, None if of_platform else self.merchant, whole)
        return made

    async def recovery(
        self,
        how: str,
        policy: UUID,
        *,
        amount: int = 1000,
        currency: str = "usd",
        at: datetime = LONG_AGO,
        cause: str | None = "insufficient_funds",
        last_cause: str | None = None,
        invoice: InvoiceId | None = None,
        opened_under: UUID | None = None,
    ) -> InvoiceId:
        """One recovery that came to this; its invoice."""
        state, end_reason, by = PAID_BY[how]
        closed = at + timedelta(days=2) if end_reason else None
        async with self.world.database.transaction() as db:
            await db.execute("SET LOCAL session_replication_role = replica")
            row = await db.fetchrow(
                INSERT_RECOVERY,
                self.merchant,
                invoice,
                amount,
                currency,
                policy,
                opened_under,
                at,
                state,
                end_reason,
                closed,
                by,
                amount if by else 0,
                cause,
                last_cause or cause,
            )
            assert row is not None
            if how == "stripe":
                await db.execute(
                    "INSERT INTO attempts (recovery_id, merchant_id, origin, number, result, amount, currency) "
                    "VALUES ($1, $2, 'stripe', 1, 'succeeded', $3, $4)",
                    row["id"],
                    self.merchant,
                    amount,
                    currency,
                )
        return InvoiceId(row["invoice_id"])

    async def drawn(self, policy: UUID, share: float, paid: tuple[int, int], of: tuple[int, int], **more: Any) -> None:
        """(treatment, holdout): so many of each were paid, the holdout by their customers alone."""
        drawn = Policy(holdout_share=share)
        left = {False: list(range(of[0])), True: list(range(of[1]))}
        number = 0
        while left[False] or left[True]:
            invoice = InvoiceId(f"in_{policy.hex[:6]}{number}")
            number += 1
            held = in_holdout(drawn, invoice)
            if not left[held]:
                continue
            is_paid = left[held].pop() < paid[held]
            how = ("customer" if held else "retry") if is_paid else "unpaid"
            await self.recovery(how, policy, invoice=invoice, **more)


@pytest.fixture
async def past(world: World) -> Past:
    """A merchant with a past."""
    return Past(world, await world.connect())


def groups(body: Any) -> dict[Any, Any]:
    """The report's groups by name."""
    return {each["group"]: each for each in body["data"]}


def rows_of(text: str) -> list[dict[str, str]]:
    """The file as a spreadsheet reads it."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_whose_payment_it_was_and_what_is_not_counted_yet(api: Api, past: Past) -> None:
    policy = await past.policy()
    for how, amount in (("retry", 700), ("message", 50), ("customer", 40), ("stripe", 30), ("unpaid", 20)):
        await past.recovery(how, policy, amount=amount)
    await past.recovery("voided", policy, amount=10)
    await past.recovery("open", policy, amount=5)  # its window is over, and nobody has closed it: not paid
    # Paid and unpaid alike, a young one waits for its window.
    await past.recovery("retry", policy, amount=4000, at=NOW - timedelta(days=20))
    await past.recovery("open", policy, amount=2000, at=NOW - timedelta(days=20))
    await past.recovery("retry", policy, amount=7, currency="jpy")
    await past.recovery("retry", policy, amount=9, at=NOW - timedelta(days=95))  # before the range

    body = (await api.get("/v1/reports/recoveries", merchant_id=past.merchant)).body

    (group,) = body["data"]
    assert group["group"] == "all"
    jpy, usd = group["money"]
    assert (jpy["currency"], jpy["recovered"], jpy["recovered_share"]) == ("jpy", {"amount": 7, "count": 1}, 1.0)
    assert usd == {
        "currency": "usd",
        "failed": {"amount": 6855, "count": 9},
        "young": {"amount": 6000, "count": 2},
        "counted": {"amount": 855, "count": 7},
        "recovered": {"amount": 750, "count": 2},
        "recovered_share": round(2 / 7, 6),
        "recovered_amount_share": round(750 / 855, 6),
        "ours": {"retry": {"amount": 700, "count": 1}, "message": {"amount": 50, "count": 1}},
        "elsewhere": {"stripe": {"amount": 30, "count": 1}, "customer": {"amount": 40, "count": 1}},
        "unpaid": {"amount": 35, "count": 3},
        "refunded": 0,
        "disputed": 0,
        "taken_back": {"amount": 0, "count": 0},
    }
    assert group["lift"]["verdict"] == "no_holdout"
    assert group["lift"]["difference"] is None


async def test_the_lift_is_of_all_that_were_drawn_and_whose_window_is_over(api: Api, past: Past) -> None:
    policy = await past.policy(holdout_share=0.4)
    await past.drawn(policy, 0.4, paid=(42, 10), of=(60, 40))
    # Neither those that are young nor those that nobody drew change it.
    await past.recovery("retry", policy, at=NOW - timedelta(days=3))
    never = await past.policy()
    for _ in range(20):
        await past.recovery("retry", never)

    lift = (await api.get("/v1/reports/recoveries", merchant_id=past.merchant)).body["data"][0]["lift"]

    expected = lift_of([Stratum(Group(60, 42), Group(40, 10))])
    assert lift == {
        "verdict": "gain",
        "treatment": {"assigned": 60, "paid": 42, "paid_share": 0.7},
        "holdout": {"assigned": 40, "paid": 10, "paid_share": 0.25},
        "difference": 0.45,
        "low": round(expected.low or 0, 6),
        "high": round(expected.high or 0, 6),
        "confidence": 0.95,
    }


async def test_a_recovery_counts_where_it_was_drawn_whatever_its_row_became(api: Api, past: Past) -> None:
    """Moved to a version without a holdout, closed before the first look: the draw is the invoice's and stays."""
    policy, later = await past.policy(holdout_share=0.4), await past.policy(holdout_share=0.0, window_days=30)
    await past.drawn(policy, 0.4, paid=(30, 15), of=(30, 30))
    await past.world.execute(
        "UPDATE recoveries SET holdout = false, policy_id = $2, opened_policy_id = $3 WHERE merchant_id = $1",
        past.merchant,
        later,
        policy,
    )
    asked = {"merchant_id": past.merchant, "group_by": "policy_version"}
    (group,) = (await api.get("/v1/reports/recoveries", **asked)).body["data"]
    assert (group["group"], group["label"]) == (str(policy), "version 1, the merchant's")
    assert (group["lift"]["treatment"]["assigned"], group["lift"]["holdout"]["assigned"]) == (30, 30)
    assert group["lift"]["difference"] == 0.5


async def test_moving_a_recovery_keeps_the_version_that_it_was_opened_under(world: World, past: Past) -> None:
    recovery = await world.recovery(past.merchant)
    first = await world.value("SELECT policy_id FROM recoveries WHERE id = $1", recovery)
    for _ in range(2):
        other = await past.policy()
        async with world.database.transaction() as db:
            await recoveries.move(db, recovery, other, Entry(EntryKind.CHANGED, "policy_moved", "Moved."))
        now = "SELECT policy_id = $2 AND opened_policy_id = $3 FROM recoveries WHERE id = $1"
        assert await world.value(now, recovery, other, first)


async def test_the_first_cause_stays_when_the_last_one_changes(world: World, past: Past) -> None:
    recovery = await world.recovery(past.merchant)
    for cause in (None, "insufficient_funds", "expired_card"):
        async with world.database.transaction() as db:
            entry = Entry(EntryKind.DECIDED, "test", "It goes on.")
            await recoveries.change(db, recovery, RecoveryState.WAITING, entry, decline_cause=cause)
    row = "SELECT first_cause || ' then ' || decline_cause FROM recoveries WHERE id = $1"
    assert await world.value(row, recovery) == "insufficient_funds then expired_card"


async def test_too_few_are_not_turned_into_a_number(api: Api, past: Past) -> None:
    policy = await past.policy(holdout_share=0.4)
    await past.drawn(policy, 0.4, paid=(60, 0), of=(60, 29))
    lift = (await api.get("/v1/reports/recoveries", merchant_id=past.merchant)).body["data"][0]["lift"]
    assert lift["verdict"] == "not_enough_data"
    assert (lift["difference"], lift["low"], lift["high"]) == (None, None, None)
    assert (lift["treatment"]["assigned"], lift["holdout"]["assigned"]) == (60, 29)


async def test_shares_that_changed_are_compared_each_with_its_own_holdout(api: Api, past: Past) -> None:
    """Easy invoices under a small holdout, hard ones under a large: the sums alone would claim a gain."""
    small, large = await past.policy(holdout_share=0.2), await past.policy(holdout_share=0.5)
    await past.drawn(small, 0.2, paid=(72, 18), of=(80, 20))
    await past.drawn(large, 0.5, paid=(8, 8), of=(40, 40))
    lift = (await api.get("/v1/reports/recoveries", merchant_id=past.merchant)).body["data"][0]["lift"]
    assert lift["treatment"]["paid_share"] - lift["holdout"]["paid_share"] > 0.2
    assert (lift["verdict"], lift["difference"]) == ("unclear", 0.0)


async def test_a_segments_longer_window_keeps_a_recovery_young(api: Api, past: Past) -> None:
    segment = {"name": "big", "when": {"amount_at_least": {"usd": 1}}, "then": {"window_days": 45}}
    await past.recovery("retry", await past.policy(segments=[segment]), amount=100)
    (money,) = (await api.get("/v1/reports/recoveries", merchant_id=past.merchant)).body["data"][0]["money"]
    assert (money["young"]["count"], money["counted"]["count"], money["recovered_share"]) == (1, 0, None)


async def test_it_is_broken_down_by_cause_version_currency_week_and_attribution(api: Api, past: Past) -> None:
    policy, platforms = await past.policy(), await past.policy(of_platform=True)
    await past.recovery("retry", policy, at=A_MONDAY)
    await past.recovery("unpaid", policy, at=A_MONDAY + timedelta(days=6), cause="expired_card", currency="eur")
    # A later decline with another cause does not move it to another group.
    await past.recovery("message", platforms, at=A_MONDAY - timedelta(seconds=43201), last_cause="lost_or_stolen")
    await past.recovery("customer", policy, at=A_MONDAY, cause=None)

    async def names(by: str) -> dict[Any, int]:
        found = (await api.get("/v1/reports/recoveries", merchant_id=past.merchant, group_by=by)).body
        assert found["group_by"] == by
        return {each["group"]: sum(money["failed"]["count"] for money in each["money"]) for each in found["data"]}

    week = A_MONDAY.date()
    assert await names("cause") == {"insufficient_funds": 2, "expired_card": 1, None: 1}
    assert await names("policy_version") == {str(policy): 3, str(platforms): 1}
    assert await names("currency") == {"usd": 3, "eur": 1}
    before = week - timedelta(days=7)
    assert await names("cohort_week") == {week.isoformat(): 3, before.isoformat(): 1}
    assert list(await names("cohort_week")) == [before.isoformat(), week.isoformat()]
    assert await names("attribution") == {"retry": 1, "message": 1, "customer": 1, "unpaid": 1}
    by = (await api.get("/v1/reports/recoveries", merchant_id=past.merchant, group_by="attribution")).body
    assert {each["lift"]["verdict"] for each in by["data"]} == {"not_applicable"}


async def test_the_days_are_both_included_and_bounded(api: Api, past: Past) -> None:
    policy = await past.policy()
    for hour, day in ((0, 10), (23, 10), (0, 11)):
        await past.recovery("retry", policy, at=datetime(2026, 3, day, hour, 30, tzinfo=UTC))
    found = await api.get(
        "/v1/reports/recoveries", **{"merchant_id": past.merchant, "from": "2026-03-10", "to": "2026-03-10"}
    )
    assert found.body["data"][0]["money"][0]["failed"]["count"] == 2
    for wrong in (
        {"from": "2026-03-10", "to": "2026-03-09"},
        {"from": "2025-01-01", "to": "2026-03-09"},
        {"to": "0001-01-05"},
        {"to": "9999-12-31"},
        {"from": "yesterday"},
        {"group_by": "customer"},
        {"merchant": "x"},
    ):
        assert (await api.get("/v1/reports/recoveries", **wrong)).status == 400, wrong


async def test_nobody_sees_another_merchants_recoveries(api: Api, world: World, past: Past) -> None:
    await past.recovery("retry", await past.policy())
    stranger = api.as_(await world.key(await world.connect()))
    for path in ("/v1/reports/recoveries", "/v1/reports/recoveries.csv", "/v1/recoveries.csv"):
        assert (await stranger.get(path, merchant_id=past.merchant)).status == 404
        assert past.merchant not in str((await stranger.get(path)).body)
        assert (await api.as_(None).get(path)).status == 401
        assert (await api.as_(await world.key(past.merchant, Scope.TASKS_READ)).get(path)).status == 403
    own = api.as_(await world.key(past.merchant))
    assert (await own.get("/v1/reports/recoveries")).body["data"][0]["money"][0]["failed"]["count"] == 1
    assert len(rows_of((await own.get("/v1/recoveries.csv")).body)) == 1
    assert len(rows_of((await api.get("/v1/recoveries.csv")).body)) == 1


async def test_the_report_as_csv_says_the_same(api: Api, past: Past) -> None:
    policy = await past.policy(holdout_share=0.4)
    await past.drawn(policy, 0.4, paid=(42, 10), of=(60, 40))
    await past.recovery("message", policy, currency="eur", amount=77, invoice=InvoiceId("in_x"))
    asked = {"merchant_id": past.merchant, "group_by": "cause"}
    body = (await api.get("/v1/reports/recoveries", **asked)).body
    reply = await api.get("/v1/reports/recoveries.csv", **asked)
    assert reply.headers["Content-Disposition"].startswith('attachment; filename="recoveries-')
    assert reply.body.splitlines()[0] == ",".join(REPORT_COLUMNS)
    eur, usd = rows_of(reply.body)
    (group,) = body["data"]
    assert (eur["currency"], eur["message_count"], eur["message_amount"]) == ("eur", "1", "77")
    assert (usd["failed_count"], usd["failed_amount"]) == ("100", "100000")
    for row in (eur, usd):
        assert row["group"] == "insufficient_funds"
        assert float(row["group_lift"]) == group["lift"]["difference"]
        assert row["group_verdict"] == group["lift"]["verdict"]


async def test_the_export_has_a_row_per_recovery_and_everything_parses_back(api: Api, past: Past) -> None:
    policy = await past.policy(holdout_share=0.4)
    drawn = (InvoiceId(f"in_{n}") for n in range(100))
    held = next(each for each in drawn if in_holdout(Policy(holdout_share=0.4), each))
    await past.recovery("stripe", policy, invoice=held, amount=12345)
    await past.recovery("open", policy, currency="eur", at=NOW - timedelta(days=1))
    await past.world.execute(
        "INSERT INTO card_warnings (merchant_id, customer_id, payment_method_id, exp_year, exp_month, warned_at) "
        "VALUES ($1, 'cus_1', 'pm_1', 2026, 9, $2)",
        past.merchant,
        LONG_AGO - timedelta(days=3),
    )
    reply = await api.get("/v1/recoveries.csv", merchant_id=past.merchant)
    assert reply.headers["Content-Type"].startswith("text/csv; charset=utf-8")
    assert "X-Request-Id" in reply.headers
    assert reply.body.split("\r\n")[0] == ",".join(EXPORT_COLUMNS)
    newer, older = rows_of(reply.body)
    listed = (await api.get("/v1/recoveries", merchant_id=past.merchant)).body["data"]
    assert [newer["id"], older["id"]] == [each["id"] for each in listed]
    assert (newer["attribution"], newer["state"], newer["closed_at"]) == ("open", "waiting", "")
    assert (older["invoice_id"], older["assigned_to"], older["attribution"]) == (held, "holdout", "stripe")
    assert (older["amount_due"], older["amount_recovered"], older["currency"]) == ("12345", "0", "usd")
    assert (older["attempts"], older["stripe_attempts"], older["messages"]) == ("0", "1", "0")
    assert datetime.fromisoformat(older["opened_at"]) == LONG_AGO
    assert datetime.fromisoformat(older["window_ends_at"]) == LONG_AGO + timedelta(days=21)
    assert datetime.fromisoformat(older["card_warned_at"]) == LONG_AGO - timedelta(days=3)
    filtered = rows_of((await api.get("/v1/recoveries.csv", currency="eur", state="waiting")).body)
    assert [each["id"] for each in filtered] == [newer["id"]]
    assert rows_of((await api.get("/v1/recoveries.csv", invoice_id="in_none")).body) == []
    assert (await api.get("/v1/recoveries.csv", limit=5)).status == 400


async def test_a_long_export_holds_one_batch_in_memory_at_a_time(
    world: World, past: Past, open_database: OpenDatabase
) -> None:
    policy = await past.policy()
    count = 6 * BATCH + 7
    async with world.database.transaction() as db:
        await db.execute("SET LOCAL session_replication_role = replica")
        await db.execute(
            "INSERT INTO recoveries (merchant_id, invoice_id, amount_due, currency, policy_id, opened_at) "
            "SELECT $1, 'in_' || n, n, 'usd', $2, now() - n * interval '1 min' FROM generate_series(1, $3::int) AS n",
            past.merchant,
            policy,
            count,
        )
    file = CsvFile("x.csv", EXPORT_COLUMNS, select_export(None, {"merchant_id": past.merchant}))
    async with open_database(Role.LEDGER) as ledger, ledger.transaction() as db:
        pieces = [piece async for piece in parts(db, file)]
    assert [piece.count("\r\n") for piece in pieces] == [BATCH + 1, *[BATCH] * 5, 7]
    amounts = [int(row["amount_due"]) for row in rows_of("".join(pieces))]
    assert amounts == list(range(1, count + 1))


async def test_rows_that_come_in_meanwhile_are_not_in_the_file(world: World, past: Past) -> None:
    policy = await past.policy()
    for minute in range(3):
        await past.recovery("open", policy, at=LONG_AGO - timedelta(minutes=minute))
    file = CsvFile("x.csv", EXPORT_COLUMNS, select_export(None, {"merchant_id": past.merchant}))
    before, csv_export.BATCH = csv_export.BATCH, 1
    try:
        async with world.database.transaction() as db:
            pieces = parts(db, file)
            text = await anext(pieces)
            await past.recovery("open", policy, at=LONG_AGO - timedelta(minutes=9))
            await past.world.execute("UPDATE recoveries SET currency = 'jpy'")
            async for piece in pieces:
                text += piece
    finally:
        csv_export.BATCH = before
    assert [row["currency"] for row in rows_of(text)] == ["usd"] * 3


async def test_only_two_files_are_sent_at_once(api: Api, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_export, "AT_ONCE", 0)
    refused = await api.get("/v1/recoveries.csv")
    assert (refused.status, refused.problem) == (503, "busy")
    monkeypatch.setattr(csv_export, "AT_ONCE", 2)
    for _ in range(5):
        assert (await api.get("/v1/recoveries.csv")).status == 200


async def test_half_a_file_is_never_taken_for_one(api: Api, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = await past.policy()
    for _ in range(3):
        await past.recovery("open", policy)
    monkeypatch.setattr(csv_export, "BATCH", 1)
    original, calls = csv_export.lines, itertools.count()

    def fails_in_the_middle(rows: Iterable[Iterable[Any]]) -> str:
        if next(calls) == 2:  # the header and the first row are out
            raise RuntimeError("the database went away")
        return original(rows)

    monkeypatch.setattr(csv_export, "lines", fails_in_the_middle)
    with pytest.raises(aiohttp.ClientError):
        await api.get("/v1/recoveries.csv")
    monkeypatch.setattr(csv_export, "lines", original)
    assert len(rows_of((await api.get("/v1/recoveries.csv")).body)) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("in_1", "in_1"),
        (-5, "-5"),
        (-0.5, "-0.5"),
        (None, ""),
        (True, "true"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
    ],
)
def test_a_cell_is_never_a_formula(value: Any, text: str) -> None:
    assert cell(value) == text


async def test_a_hostile_text_is_a_text_in_the_file(api: Api, past: Past) -> None:
    policy = await past.policy()
    hostile = '=cmd|"/c calc"!A1,\r\n"x'
    await past.world.execute("UPDATE recoveries SET end_reason = 'x'")
    await past.recovery("unpaid", policy)
    await past.world.execute("UPDATE recoveries SET end_reason = $1", hostile)
    (row,) = rows_of((await api.get("/v1/recoveries.csv")).body)
    assert row["end_reason"] == f"'{hostile}"


async def test_the_draw_in_sql_is_the_draw_of_the_brain(world: World) -> None:
    for share in (0.0, 1e-9, 0.01, 0.1, 1 / 3, 0.5):
        policy = Policy(holdout_share=share)
        ids = [InvoiceId(f"in_{uuid4().hex}") for _ in range(400)]
        async with world.database.transaction() as db:
            rows = await db.fetch(
                "SELECT i AS id, citadel_in_holdout($1, i) AS held FROM unnest($2::text[]) AS i", share, ids
            )
        assert {row["id"]: row["held"] for row in rows} == {each: in_holdout(policy, each) for each in ids}
