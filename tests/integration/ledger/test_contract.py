"""The OpenAPI document is true: Schemathesis reads it and tries to catch the running service lying."""

import asyncio
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import (
    ChecksConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)

from services.ledger.api.openapi import document
from services.ledger.api.pagination import ById, ByTime, write_by_id, write_by_time
from services.ledger.routes import ENDPOINTS
from shared.api_keys import Scope, hash_secret, new_secret
from tests.integration.ledger.service import running_ledger

MERCHANT = "11111111-1111-4111-8111-111111111111"
RECOVERY = "22222222-2222-4222-8222-222222222222"
TASK = "33333333-3333-4333-8333-333333333333"
LEFT_ALONE = "44444444-4444-4444-8444-444444444444"

SEED = f"""
INSERT INTO merchants (id, stripe_connect_id) VALUES ('{MERCHANT}', 'acct_1');
INSERT INTO merchants (stripe_connect_id) SELECT 'acct_other_' || n FROM generate_series(1, 3) AS n;
INSERT INTO recoveries (id, merchant_id, invoice_id, amount_due, currency, policy_id)
    SELECT '{RECOVERY}', '{MERCHANT}', 'in_1', 100, 'usd', id FROM policies LIMIT 1;
INSERT INTO recovery_timeline (recovery_id, merchant_id, kind, to_state, rule, explanation)
    VALUES ('{RECOVERY}', '{MERCHANT}', 'opened', 'open', 'renewal_failed', 'A renewal failed.');
INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, amount, currency)
    VALUES ('{RECOVERY}', '{MERCHANT}', 'citadel', 1, 'k', 100, 'usd');
INSERT INTO usage_logs (merchant_id, metric_type, amount, currency, recovery_id)
    VALUES ('{MERCHANT}', 'recovery_opened', 100, 'usd', '{RECOVERY}');
INSERT INTO silenced_customers (merchant_id, customer_id, reason) VALUES ('{MERCHANT}', 'cus_1', 'bounced');
INSERT INTO left_alone (id, merchant_id, customer_id, reason)
    VALUES ('{LEFT_ALONE}', '{MERCHANT}', 'cus_1', 'hardship');
INSERT INTO card_warnings (merchant_id, customer_id, payment_method_id, exp_year, exp_month)
    VALUES ('{MERCHANT}', 'cus_1', 'pm_1', 2026, 9);
INSERT INTO scheduled_tasks (public_id, merchant_id, task_type, payload, status)
    VALUES ('{TASK}', '{MERCHANT}', 'job', '{{}}', 'dead');
INSERT INTO scheduled_tasks (merchant_id, task_type, payload) SELECT '{MERCHANT}', 'job', '{{}}'
    FROM generate_series(1, 300);
"""  # noqa: S608 - constants of this file

REAL_IDS = {"merchant_id": MERCHANT, "recovery_id": RECOVERY, "task_id": TASK, "left_alone_id": LEFT_ALONE}
UUID_FORM = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
CURSORS = {
    "/v1/recoveries": write_by_time("recoveries", ByTime(datetime(2200, 1, 1, tzinfo=UTC), UUID(RECOVERY))),
    "/v1/merchants": write_by_time("merchants", ByTime(datetime(2200, 1, 1, tzinfo=UTC), UUID(MERCHANT))),
    "/v1/left-alone": write_by_time("left-alone", ByTime(datetime(2200, 1, 1, tzinfo=UTC), UUID(LEFT_ALONE))),
    "/v1/tasks": write_by_id("tasks", ById(200)),
    "/v1/silences": write_by_id("silences", ById(200)),
    "/v1/card-warnings": write_by_id("card-warnings", ById(200)),
    "/v1/activity": write_by_id("activity", ById(200)),
}

# A well-formed request may name what is not there, come at the wrong time or be in the way of another: 404, 409, 422
# (a unique key, a timestamp, a merchant) are true answers to it. A 400 never is.
TAKEN = PositiveDataAcceptanceConfig(expected_statuses=["2xx", 404, 409, 422])
CONFIG = SchemathesisConfig(
    projects=ProjectsConfig(default=ProjectConfig(checks=ChecksConfig(positive_data_acceptance=TAKEN)))
)
SCHEMA = schemathesis.openapi.from_dict(document(ENDPOINTS), config=CONFIG)


@dataclass(frozen=True, slots=True)
class Service:
    """A running ledger, and a key that may do everything."""

    url: str
    key: str


async def _execute(url: str, statement: str, *arguments: Any) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def service(postgres_url: str, template: str) -> Iterator[Service]:
    """The service's own process over a database of this module's own."""
    name = f"citadel_contract_{os.getpid()}"
    url = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    key = new_secret()
    asyncio.run(_execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}"))
    asyncio.run(_execute(url, SEED))
    insert = "INSERT INTO api_keys (name, key_hash, scopes) VALUES ('contract', $1, $2)"
    asyncio.run(_execute(url, insert, hash_secret(key), list(Scope)))
    with running_ledger(url) as base_url:
        yield Service(base_url, key)
    asyncio.run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


def test_the_process_serves_the_document_of_its_own_route_table(service: Service) -> None:
    assert requests.get(f"{service.url}/openapi.json", timeout=5).json() == document(ENDPOINTS)
    assert requests.get(f"{service.url}/readyz", timeout=5).status_code == 200


def is_id(value: Any) -> bool:
    """Whether this is a UUID in its usual form."""
    return isinstance(value, str) and UUID_FORM.fullmatch(value) is not None


def made_possible(case: Any) -> None:
    """Give a well-formed request values that this service has: an id of a row, a cursor that the list gave out."""
    for name, value in REAL_IDS.items():
        if is_id(case.path_parameters.get(name)):
            case.path_parameters[name] = value
        if is_id(case.query.get(name)):
            case.query[name] = value
    if "cursor" in case.query:
        case.query["cursor"] = CURSORS[case.path]
    if "from" in case.query or "to" in case.query:
        case.query.update({"from": "2026-01-01", "to": "2026-12-31"})
    if isinstance(case.body, dict):
        case.body["merchant_id"] = MERCHANT
        if case.body.get("timestamp"):
            case.body["timestamp"] = datetime.now(UTC).isoformat()


def check_of(operation_id: str) -> Any:
    """A test that asks one operation everything that Schemathesis can think of."""

    @SCHEMA.include(operation_id=operation_id).parametrize()
    @settings(max_examples=30, suppress_health_check=list(HealthCheck), derandomize=True)
    def check(case: Any, service: Service) -> None:
        if case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE:
            made_possible(case)
        case.call_and_validate(base_url=service.url, headers={"Authorization": f"Bearer {service.key}"})

    return check


# One test with a name of its own per operation: Schemathesis gives all tests of one function the same name, which
# pytest-xdist cannot tell apart.
globals().update({f"test_{e.name}_answers_as_documented": check_of(e.name) for e in ENDPOINTS})
