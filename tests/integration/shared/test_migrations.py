"""The schema goes up, down and up again on a database with rows in it, and the first step is the given schema."""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared import migrations
from shared.migrations import versions
from shared.recovery_model import TRANSITIONS

_numbers = itertools.count(1)

# Written against the given schema alone: what an installation of the very first version would hold.
FIRST_ROWS = """
INSERT INTO merchants (stripe_connect_id, access_token, created_at)
    VALUES ('acct_old', 'sealed', '2026-01-31 23:30:00');
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, run_at, created_at)
    VALUES ('m1', 'dunning_retry', '{"invoice_id": "in_1"}', '2026-02-01 10:00:00', '2026-02-01 09:00:00');
INSERT INTO usage_logs (merchant_id, metric_type, amount) VALUES ('m1', 'api_calls', 7);
INSERT INTO processed_events (event_id) VALUES ('evt_1');
INSERT INTO daily_metrics (merchant_id, metric_date, recovered_cents) VALUES ('m1', '2026-01-31', 4200);
"""

GIVEN = {
    "merchants": [
        ("id", "uuid", "NO", "gen_random_uuid()"),
        ("stripe_connect_id", "text", "NO", None),
        ("stripe_user_id", "text", "YES", None),
        ("access_token", "text", "YES", None),
        ("tier", "text", "YES", "'FREE'::text"),
        ("created_at", "timestamp without time zone", "YES", "now()"),
    ],
    "scheduled_tasks": [
        ("id", "integer", "NO", "nextval('scheduled_tasks_id_seq'::regclass)"),
        ("merchant_id", "text", "NO", None),
        ("task_type", "text", "NO", None),
        ("payload", "jsonb", "NO", None),
        ("status", "text", "YES", "'pending'::text"),
        ("run_at", "timestamp without time zone", "YES", "now()"),
        ("created_at", "timestamp without time zone", "YES", "now()"),
    ],
    "usage_logs": [
        ("id", "integer", "NO", "nextval('usage_logs_id_seq'::regclass)"),
        ("merchant_id", "text", "NO", None),
        ("metric_type", "text", "NO", None),
        ("amount", "integer", "YES", "1"),
        ("created_at", "timestamp without time zone", "YES", "now()"),
    ],
    "processed_events": [
        ("event_id", "text", "NO", None),
        ("processed_at", "timestamp without time zone", "YES", "now()"),
    ],
    "daily_metrics": [
        ("merchant_id", "text", "NO", None),
        ("metric_date", "date", "NO", "CURRENT_DATE"),
        ("recovered_cents", "bigint", "YES", "0"),
    ],
}

COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name <> 'alembic_version'
ORDER BY table_name, ordinal_position
"""


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"citadel_empty_{os.getpid()}_{next(_numbers)}"
    _run(postgres_url, f"CREATE DATABASE {name}")
    yield postgres_url.rsplit("/", 1)[0] + "/" + name
    _run(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


def _run(url: str, *statements: str, query: str | None = None) -> list[asyncpg.Record]:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
            return list(await connection.fetch(query)) if query else []
        finally:
            await connection.close()

    return asyncio.run(run())


def _columns(url: str) -> dict[str, list[tuple[Any, ...]]]:
    tables: dict[str, list[tuple[Any, ...]]] = {}
    for row in _run(url, query=COLUMNS):
        tables.setdefault(row["table_name"], []).append(tuple(row)[1:])
    return tables


def test_the_first_migration_makes_exactly_the_five_given_tables(empty_url: str) -> None:
    migrations.upgrade(empty_url, "0001")
    assert _columns(empty_url) == GIVEN


def test_autovacuum_is_set_as_given(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    options = _run(empty_url, query="SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL")
    factors = {
        row["relname"]: option.partition("=")[2]
        for row in options
        for option in row["reloptions"]
        if option.startswith("autovacuum_vacuum_scale_factor")
    }
    assert factors == {"scheduled_tasks": "0.01", "processed_events": "0.01", "usage_logs": "0.05"}


def test_rows_survive_the_way_up_down_and_up_again(empty_url: str) -> None:
    migrations.upgrade(empty_url, "0001")
    _run(empty_url, FIRST_ROWS)

    migrations.upgrade(empty_url)
    [merchant] = _run(empty_url, query="SELECT * FROM merchants")
    [task] = _run(empty_url, query="SELECT * FROM scheduled_tasks")
    [day] = _run(empty_url, query="SELECT * FROM daily_metrics")
    assert merchant["created_at"] == datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    assert (merchant["status"], merchant["access_token"]) == ("active", "sealed")
    assert task["run_at"] == datetime(2026, 2, 1, 10, tzinfo=UTC)
    assert (task["status"], task["attempts"], task["fence"]) == ("pending", 0, 0)
    assert (day["currency"], day["recovered_cents"]) == ("xxx", 4200)
    _run(
        empty_url,
        "INSERT INTO daily_metrics (merchant_id, metric_date, currency, recovered_cents)"
        " VALUES ('m1', '2026-01-31', 'eur', 800)",
    )

    migrations.downgrade(empty_url, "0001")
    assert _columns(empty_url) == GIVEN
    [merchant] = _run(empty_url, query="SELECT * FROM merchants")
    [task] = _run(empty_url, query="SELECT * FROM scheduled_tasks")
    [day] = _run(empty_url, query="SELECT * FROM daily_metrics")
    assert merchant["created_at"] == datetime(2026, 1, 31, 23, 30)  # noqa: DTZ001 - the given column has no zone
    assert task["run_at"] == datetime(2026, 2, 1, 10)  # noqa: DTZ001 - the given column has no zone
    assert day["recovered_cents"] == 5000

    migrations.upgrade(empty_url)
    [usage] = _run(empty_url, query="SELECT amount, metric_type FROM usage_logs")
    assert tuple(usage) == (7, "api_calls")

    migrations.downgrade(empty_url)
    assert _columns(empty_url) == {}


# What a merchant relies on. With a recovery on the platform's version that is in force, and one on its own.
LIVED_IN = """
INSERT INTO merchants (stripe_connect_id, status) VALUES ('acct_1', 'active');
INSERT INTO policies (merchant_id, version, document) VALUES ('m1', 1, '{"schema_version": 1}');
INSERT INTO policies (merchant_id, version, active, document) VALUES ('m1', 2, true, '{"schema_version": 1}');
INSERT INTO recoveries (merchant_id, invoice_id, amount_due, currency, policy_id)
    SELECT COALESCE(merchant_id, 'm2'), 'in_1', 100, 'usd', id FROM policies WHERE active;
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, recovery_id)
    SELECT merchant_id, 'dunning_retry', '{"invoice_id": "in_1"}', id FROM recoveries;
INSERT INTO usage_logs (merchant_id, metric_type, amount, currency, recovery_id)
    SELECT merchant_id, metric_type, amount, currency, id
    FROM recoveries,
        (VALUES ('recovery_opened', 100), ('recovery_recovered', 90), ('refunded', 40), ('disputed', 30),
                ('won_back', 20)) AS booked (metric_type, amount);
"""
RELIED_ON = {
    "policies": "SELECT merchant_id, version, document FROM policies WHERE active ORDER BY merchant_id, version",
    "pins": """
        SELECT r.merchant_id, r.state, p.merchant_id AS whose, p.version, p.document
        FROM recoveries AS r JOIN policies AS p ON p.id = r.policy_id ORDER BY r.merchant_id
    """,
    "merchants": "SELECT stripe_connect_id, status FROM merchants",
    "tasks": "SELECT merchant_id, task_type, payload, recovery_id, status FROM scheduled_tasks ORDER BY merchant_id",
    "money": """
        SELECT merchant_id, currency, failed_cents, failed_count, recovered_cents, refunded_cents, disputed_cents,
            won_back_cents
        FROM merchant_totals ORDER BY merchant_id
    """,
    "days": """
        SELECT merchant_id, currency, recovered_cents, refunded_cents, disputed_cents, won_back_cents
        FROM daily_metrics ORDER BY merchant_id
    """,
}
# From the first revision on that has policies and books.
REVISIONS = sorted(
    path.name[:4] for path in Path(versions.__path__[0]).glob("[0-9]*.py") if "0011" <= path.name[:4] < migrations.HEAD
)


def _relied_on(url: str) -> dict[str, list[tuple[Any, ...]]]:
    return {name: [tuple(row) for row in _run(url, query=query)] for name, query in RELIED_ON.items()}


@pytest.mark.parametrize("revision", REVISIONS)
def test_down_to_a_revision_and_up_again_keeps_what_a_merchant_relies_on(empty_url: str, revision: str) -> None:
    migrations.upgrade(empty_url)
    _run(empty_url, LIVED_IN)
    before = _relied_on(empty_url)
    migrations.downgrade(empty_url, revision)
    for whose in ("IS NULL", "= 'm1'"):  # a renewal that fails now has rules to go by
        assert _run(empty_url, query=f"SELECT FROM policies WHERE active AND merchant_id {whose}")
    migrations.upgrade(empty_url)
    assert _relied_on(empty_url) == before


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_version_of_the_platforms_own_stays_in_force_down_and_up_again(empty_url: str, revision: str) -> None:
    migrations.upgrade(empty_url)
    own = "INSERT INTO policies (version, active, document) VALUES (9, true, '{\"schema_version\": 1}')"
    _run(empty_url, "UPDATE policies SET active = false", own)
    migrations.downgrade(empty_url, revision)
    migrations.upgrade(empty_url)
    assert [tuple(row) for row in _run(empty_url, query="SELECT version FROM policies WHERE active")] == [(9,)]


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_default_is_in_force_down_and_up_again_without_recoveries(empty_url: str, revision: str) -> None:
    migrations.upgrade(empty_url)
    before = _relied_on(empty_url)["policies"]
    migrations.downgrade(empty_url, revision)
    migrations.upgrade(empty_url)
    assert _relied_on(empty_url)["policies"] == before
    assert len(before) == 1


AN_ATTEMPT = """
INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, amount, currency{})
    SELECT id, merchant_id, '{}', {}, {}, 100, 'usd'{} FROM recoveries WHERE merchant_id = 'm1'
"""


def test_attempts_stay_when_predicted_chances_come_and_go(empty_url: str) -> None:
    migrations.upgrade(empty_url, "0029")
    _run(empty_url, LIVED_IN, AN_ATTEMPT.format("", "citadel", 1, "'k1'", ""))
    before = _columns(empty_url)
    _run(empty_url, "UPDATE attempts SET result = 'declined'")
    migrations.upgrade(empty_url, "0030")
    predicted = (", predicted_chance, after_cause", "citadel", 2, "'k2'", ", 0.25, 'unknown'")
    _run(empty_url, AN_ATTEMPT.format(*predicted))
    chances = [tuple(row) for row in _run(empty_url, query="SELECT predicted_chance FROM attempts ORDER BY number")]
    assert chances == [(None,), (0.25,)]
    for columns, origin, key, values in (
        (", predicted_chance, after_cause", "citadel", "'k3'", ", 1.01, 'unknown'"),
        (", predicted_chance, after_cause", "citadel", "'k3'", ", -0.01, 'unknown'"),
        (", predicted_chance, after_cause", "citadel", "'k3'", ", 'NaN', 'unknown'"),
        (", predicted_chance", "citadel", "'k3'", ", 0.5"),
        (", after_cause", "citadel", "'k3'", ", 'unknown'"),
        (", predicted_chance, after_cause", "stripe", "NULL", ", 0.5, 'unknown'"),
    ):
        with pytest.raises(asyncpg.CheckViolationError, match="attempts_predicted"):
            _run(
                empty_url, "UPDATE attempts SET result = 'declined'", AN_ATTEMPT.format(columns, origin, 3, key, values)
            )
    migrations.downgrade(empty_url, "0029")
    assert _columns(empty_url) == before
    assert [row["number"] for row in _run(empty_url, query="SELECT number FROM attempts ORDER BY number")] == [1, 2]


def test_migrating_again_changes_nothing(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    before = _columns(empty_url)
    migrations.upgrade(empty_url)
    assert _columns(empty_url) == before


async def test_a_database_of_newer_code_is_left_as_it_is(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    connection = await asyncpg.connect(empty_url)
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        migrations.upgrade(empty_url)
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9999"
    finally:
        await connection.close()


async def test_two_processes_may_migrate_at_once(empty_url: str) -> None:
    await asyncio.gather(
        asyncio.to_thread(_migrate_in_a_process, empty_url), asyncio.to_thread(_migrate_in_a_process, empty_url)
    )


def _migrate_in_a_process(url: str) -> None:

    program = "import sys; from shared import migrations; migrations.upgrade(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_database_that_is_away_is_a_migration_error() -> None:
    with pytest.raises(migrations.MigrationError, match="failed"):
        migrations.upgrade("postgresql://nobody:secret@127.0.0.1:1/none")


def test_the_database_knows_the_same_transitions_as_the_code(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    rows = _run(empty_url, query="SELECT from_state, to_state FROM recovery_transitions")
    assert {(row["from_state"], row["to_state"]) for row in rows} == {
        (str(before), str(after)) for before, afters in TRANSITIONS.items() for after in afters
    }
