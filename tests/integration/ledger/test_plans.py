"""What the planner makes of the API's statements, over tables that are big enough for it to care."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.ledger.api.pagination import ById, ByTime
from services.ledger.api.select import Select
from services.ledger.calibration.store import select_calibration
from services.ledger.left_alone.store import select_left_alone
from services.ledger.merchants.store import select_merchants
from services.ledger.recoveries.store import (
    ATTEMPTS_OF_RECOVERY,
    TIMELINE_OF_RECOVERY,
    WARNINGS_OF_RECOVERY,
    select_activity,
    select_recoveries,
)
from services.ledger.reports.store import select_export, select_report
from services.ledger.silences.store import select_card_warnings, select_silences
from services.ledger.stats.store import MERCHANT_TOTALS, PLATFORM_TOTALS, select_daily
from services.ledger.tasks import store as task_store
from shared.database import Database
from shared.ids import MerchantId
from shared.interventions import OPEN_OF_MERCHANT
from shared.left_alone import ENDS, OF_RECOVERY
from shared.queue.tasks import TaskStatus
from shared.recovery_model import RecoveryState

MERCHANT = MerchantId("00000000-0000-4000-8000-000000000007")
SMALL = MerchantId("00000000-0000-4000-8000-000000000008")
SOME_ID = UUID(MERCHANT)
DAY = datetime(2026, 1, 3, tzinfo=UTC)
SOON = ByTime(datetime(2026, 1, 2, tzinfo=UTC), SOME_ID)

# 200 merchants, one of which has half of everything. Of the tasks 1 in 500 is dead and 1 in 250 pending, of the
# recoveries 1 in 1,000 goes on.
FILL = """
CREATE FUNCTION pg_temp.merchant(n bigint) RETURNS text LANGUAGE sql AS $$
    SELECT '00000000-0000-4000-8000-' || lpad((CASE n % 2 WHEN 1 THEN 7 ELSE n % 400 END)::text, 12, '0')
$$;
SET session_replication_role = replica;
INSERT INTO merchants (id, stripe_connect_id, created_at)
    SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'acct_' || n, now() - n * interval '1 h'
    FROM generate_series(1, 2000) AS n;
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, recovery_id, run_at)
    SELECT pg_temp.merchant(n), 'job', '{}',
        CASE WHEN n % 500 = 7 THEN 'dead' WHEN n % 250 = 7 THEN 'pending' ELSE 'succeeded' END,
        ('00000000-0000-4000-9000-' || lpad((n / 5)::text, 12, '0'))::uuid,
        '2026-01-01'::timestamptz + n * interval '1 s'
    FROM generate_series(1, 40000) AS n;
INSERT INTO recoveries (merchant_id, invoice_id, subscription_id, customer_id, amount_due, currency, policy_id,
        opened_at, state, closed_at, end_reason)
    SELECT pg_temp.merchant(n), 'in_' || n, 'sub_' || n / 3, 'cus_' || n / 5,
        100, 'usd', (SELECT id FROM policies LIMIT 1), '2026-01-01'::timestamptz + n * interval '1 min',
        CASE WHEN n % 1000 = 7 THEN 'waiting' ELSE 'stopped' END,
        CASE WHEN n % 1000 = 7 THEN NULL ELSE now() END,
        CASE WHEN n % 1000 = 7 THEN NULL ELSE 'voided' END
    FROM generate_series(1, 20000) AS n;
INSERT INTO recovery_timeline (recovery_id, merchant_id, kind, rule, explanation)
    SELECT id, merchant_id, 'opened', 'r', 'e' FROM recoveries, generate_series(1, 2);
INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, amount, currency, result,
        predicted_chance, after_cause)
    SELECT id, merchant_id, 'citadel', n, id || ':' || n, 100, 'usd', 'declined', n / 10.0, 'unknown'
    FROM recoveries, generate_series(1, 2) AS n;
INSERT INTO recovered_charges (merchant_id, charge_id, recovery_id, amount, currency, charged_at, refunded)
    SELECT merchant_id, 'ch_' || invoice_id, id, 100, 'usd', now(), CASE WHEN invoice_id LIKE '%77' THEN 100 ELSE 0 END
    FROM recoveries;
INSERT INTO usage_logs (merchant_id, metric_type, amount)
    SELECT pg_temp.merchant(n), 'api.calls', 1
    FROM generate_series(1, 20000) AS n;
INSERT INTO daily_metrics (merchant_id, metric_date, currency)
    SELECT '00000000-0000-4000-8000-' || lpad(m::text, 12, '0'), '2025-01-01'::date + d, 'usd'
    FROM generate_series(1, 400) AS m, generate_series(0, 400, 8) AS d;
INSERT INTO policies (merchant_id, version, document)
    SELECT '00000000-0000-4000-8000-' || lpad(m::text, 12, '0'), v, '{}'
    FROM generate_series(1, 2000) AS m, generate_series(1, 3) AS v;
INSERT INTO silenced_customers (merchant_id, customer_id, reason)
    SELECT pg_temp.merchant(n), 'cus_' || n, 'bounced' FROM generate_series(1, 10000) AS n;
INSERT INTO card_warnings (merchant_id, customer_id, payment_method_id, exp_year, exp_month)
    SELECT pg_temp.merchant(n), 'cus_' || n, 'pm_' || n, 2026, 1 FROM generate_series(1, 10000) AS n;
INSERT INTO left_alone (merchant_id, customer_id, until, reason, created_at)
    SELECT pg_temp.merchant(n), 'cus_' || n, CASE WHEN n % 2 = 0 THEN now() + n * interval '1 h' END, 'other',
        '2026-01-01'::timestamptz + n * interval '1 s'
    FROM generate_series(1, 10000) AS n;
INSERT INTO left_alone (merchant_id, subscription_id, reason)
    SELECT pg_temp.merchant(n), 'sub_' || n, 'other' FROM generate_series(1, 10000) AS n;
INSERT INTO merchant_totals (merchant_id, currency)
    SELECT '00000000-0000-4000-8000-' || lpad(m::text, 12, '0'), 'usd' FROM generate_series(1, 2000) AS m;
INSERT INTO catch_ups (merchant_id, events_until) SELECT id::text, now() FROM merchants;
SET session_replication_role = DEFAULT;
"""

LISTS: dict[str, Select] = {
    "merchants": select_merchants(51),
    "merchants, next page": select_merchants(51, before=SOON),
    "one merchant": select_merchants(1, SOME_ID),
    "recoveries": select_recoveries(51, None, {}),
    "recoveries, next page": select_recoveries(51, None, {"before": SOON}),
    "recoveries of a merchant": select_recoveries(51, None, {"merchant_id": MERCHANT, "before": SOON}),
    "waiting recoveries of a merchant": select_recoveries(
        51, RecoveryState.WAITING, {"merchant_id": MERCHANT, "before": SOON}
    ),
    "stopped recoveries of a merchant": select_recoveries(51, RecoveryState.STOPPED, {"merchant_id": MERCHANT}),
    "recoveries of a customer": select_recoveries(51, None, {"merchant_id": MERCHANT, "customer_id": "cus_9"}),
    "recoveries of a subscription": select_recoveries(51, None, {"subscription_id": "sub_9"}),
    "recoveries of an invoice": select_recoveries(51, None, {"invoice_id": "in_9"}),
    "one recovery": select_recoveries(1, None, {"id": SOME_ID, "merchant_id": MERCHANT}),
    "card warnings of a recovery": Select(WARNINGS_OF_RECOVERY, [SOME_ID, MERCHANT]),
    "silences": select_silences(51, {"before": ById(9_000)}),
    "silences of a merchant": select_silences(51, {"merchant_id": MERCHANT, "before": ById(9_000)}),
    "silences of a customer": select_silences(51, {"merchant_id": MERCHANT, "customer_id": "cus_9"}),
    "left alone": select_left_alone(51, {"before": SOON}),
    "left alone of a merchant": select_left_alone(51, {"merchant_id": MERCHANT, "before": SOON}),
    "one left alone": select_left_alone(51, {"merchant_id": MERCHANT, "customer_id": "cus_9"}),
    "who is left alone, for a dossier": Select(ENDS, [MERCHANT, "cus_9", "sub_9"]),
    "whether a recovery is left alone": Select(OF_RECOVERY, [SOME_ID]),
    "open recoveries to stop": Select(OPEN_OF_MERCHANT, [MERCHANT, 100]),
    "card warnings": select_card_warnings(51, {"before": ById(9_000)}),
    "card warnings of a merchant": select_card_warnings(51, {"merchant_id": MERCHANT, "before": ById(9_000)}),
    "report of a day": select_report(DAY, DAY + timedelta(days=1), MERCHANT, "cause"),
    "report of a small merchant": select_report(DAY, DAY + timedelta(days=30), SMALL, "policy_version"),
    "calibration of two hours": select_calibration(DAY, DAY + timedelta(hours=2), MERCHANT, "cause"),
    "calibration of a small merchant": select_calibration(DAY, DAY + timedelta(days=30), SMALL, "cause"),
    "export of a customer": select_export(None, {"merchant_id": MERCHANT, "customer_id": "cus_9"}),
    "export of a small merchant": select_export(None, {"merchant_id": SMALL}),
    "activity": select_activity(51, None, ById(30_000)),
    "activity of a merchant": select_activity(51, MERCHANT, ById(30_000)),
    "timeline": Select(TIMELINE_OF_RECOVERY, [SOME_ID, MERCHANT]),
    "attempts": Select(ATTEMPTS_OF_RECOVERY, [SOME_ID, MERCHANT]),
    "tasks": task_store.select_tasks(51, None, {"before": ById(30_000)}),
    "tasks of a merchant": task_store.select_tasks(51, None, {"merchant_id": MERCHANT, "before": ById(30_000)}),
    "dead tasks": task_store.select_tasks(51, TaskStatus.DEAD, {}),
    "dead tasks of a merchant": task_store.select_tasks(51, TaskStatus.DEAD, {"merchant_id": MERCHANT}),
    "pending tasks of a merchant": task_store.select_tasks(51, TaskStatus.PENDING, {"merchant_id": MERCHANT}),
    "running tasks": task_store.select_tasks(51, TaskStatus.RUNNING, {}),
    "tasks of a recovery": task_store.select_tasks(51, None, {"recovery_id": SOME_ID}),
    "one task": task_store.select_task(SOME_ID, MERCHANT),
    "days of a merchant": select_daily(date(2025, 3, 1), date(2025, 3, 30), MERCHANT, None),
    "days of all merchants": select_daily(date(2025, 3, 1), date(2025, 3, 30), None, None),
    "totals of a merchant": Select(MERCHANT_TOTALS, [MERCHANT]),
    "queue": Select(task_store.PLATFORM_QUEUE, []),
    "queue of a merchant": Select(task_store.MERCHANT_QUEUE, [MERCHANT]),
}


def scans(plan: Any) -> list[tuple[str, str]]:
    """(kind of node, table) of every node of a plan that reads a table."""
    found = [(plan["Node Type"], plan["Relation Name"])] if "Relation Name" in plan else []
    for child in plan.get("Plans", []):
        found += scans(child)
    return found


def rows_read(plan: Any) -> float:
    """How many rows the plan's nodes took from tables, those that a filter dropped among them."""
    own = 0.0
    if "Relation Name" in plan:
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return own + sum(rows_read(child) for child in plan.get("Plans", []))


async def explain(database: Database, select: Select) -> Any:
    """The plan that a connection uses again and again: made without looking at the values."""
    async with database.transaction() as db:
        await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        (explained,) = await db.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {select.sql}",
            *select.arguments,
        )
        return explained["Plan"]


@pytest.fixture
async def full(database: Database) -> Database:
    """The tables, filled and analyzed."""
    async with database.transaction() as db:
        await db.execute(FILL)
        await db.execute("ANALYZE")
    return database


async def test_no_list_and_no_number_scans_a_table(full: Database) -> None:
    wrong = {}
    for name, select in LISTS.items():
        plan = await explain(full, select)
        sequential = [table for kind, table in scans(plan) if kind == "Seq Scan" and table != "test_clock"]
        if sequential or rows_read(plan) > 2_000:
            wrong[name] = (scans(plan), rows_read(plan))
    assert wrong == {}


async def test_a_report_reads_the_recoveries_of_its_merchant_and_range_only(full: Database) -> None:
    small = await explain(full, LISTS["report of a small merchant"])
    assert rows_read(small) < 400  # a hundredth of the recoveries, and the versions that they may be under
    long = await explain(full, select_report(DAY, DAY + timedelta(days=3), MERCHANT, None))
    short = await explain(full, select_report(DAY, DAY + timedelta(days=1), MERCHANT, None))
    # One that has half of everything may be read by the range alone: at most twice its own rows.
    assert rows_read(short) < 2 * 720 + 50
    assert rows_read(long) < 2 * 2160 + 50


async def test_calibration_reads_the_attempts_of_those_recoveries_only(full: Database) -> None:
    """Two of each, found by the index of a recovery's attempts; a long range of many reads the table once instead."""
    small = await explain(full, LISTS["calibration of a small merchant"])
    assert rows_read(small) < 400
    large = await explain(full, LISTS["calibration of two hours"])
    assert rows_read(large) < 2 * 120 + 2 * 60 + 50
    every = await explain(full, select_calibration(DAY, DAY + timedelta(hours=2), None, "merchant"))
    assert rows_read(every) < 3 * 120 + 50


async def test_the_numbers_of_the_first_screen_never_touch_the_book(full: Database) -> None:
    for select in (
        Select(MERCHANT_TOTALS, [MERCHANT]),
        Select(PLATFORM_TOTALS, []),
        Select(task_store.PLATFORM_QUEUE, []),
        Select(task_store.MERCHANT_QUEUE, [MERCHANT]),
        LISTS["days of a merchant"],
        LISTS["days of all merchants"],
    ):
        tables = {table for _, table in scans(await explain(full, select))}
        assert tables <= {"merchant_totals", "daily_metrics", "scheduled_tasks", "test_clock"}


async def test_a_count_reads_no_more_rows_of_the_queue_than_its_cap(full: Database) -> None:
    async with full.transaction() as db:
        await db.execute(
            "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) SELECT $1, 'job', '{}' "
            "FROM generate_series(1, 30000)",
            MERCHANT,
        )
        await db.execute("ANALYZE scheduled_tasks")
    small = Select(task_store.MERCHANT_QUEUE, [SMALL])
    assert rows_read(await explain(full, small)) < 1_000
    for select in (LISTS["queue"], LISTS["queue of a merchant"]):
        assert rows_read(await explain(full, select)) < 2 * 10_001 + 1_000
