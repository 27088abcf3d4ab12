"""Usage: one ledger row and one task, together, once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.clock import travel_to
from shared.database import Role
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

USED: dict[str, Any] = {
    "customer_id": "cus_1",
    "metric_type": "api.calls",
    "amount": 7,
    "event_name": "api_calls",
}
COUNTS = "SELECT (SELECT count(*) FROM usage_logs), (SELECT count(*) FROM scheduled_tasks)"


async def counts(world: World) -> tuple[int, int]:
    async with world.database.transaction() as db:
        row = await db.fetchrow(COUNTS)
    assert row is not None
    return row[0], row[1]


async def test_usage_is_logged_and_its_report_queued_with_what_stripe_needs(api: Api, world: World) -> None:
    merchant = await world.connect()
    now = datetime(2031, 1, 1, 12, tzinfo=UTC)
    async with world.database.transaction() as db:
        await travel_to(db, now)
    body = USED | {"merchant_id": merchant, "timestamp": "2030-12-31T12:00:00.9Z"}

    used = await api.post("/v1/usage", body, Idempotency_Key="k1")

    task = (await api.get(f"/v1/tasks/{used.body['task_id']}")).body
    assert used.status == 201
    assert used.body["timestamp"] == "2030-12-31T12:00:00Z"
    assert task["payload"] == {
        "usage_id": used.body["id"],
        "event_name": "api_calls",
        "customer_id": "cus_1",
        "value": 7,
        "timestamp": int((now - timedelta(days=1)).timestamp()),
    }
    assert (task["task_type"], task["max_attempts"], task["merchant_id"]) == ("report_usage", 5, merchant)
    assert await world.value("SELECT amount FROM usage_logs WHERE public_id::text = $1", used.body["id"]) == 7


async def test_usage_is_no_recovered_money(api: Api, world: World) -> None:
    merchant = await world.connect()
    await api.post("/v1/usage", USED | {"merchant_id": merchant}, Idempotency_Key="k1")
    assert (await api.get("/v1/stats", merchant_id=merchant)).body["money"] == []


async def test_usage_without_an_idempotency_key_is_refused(api: Api, world: World) -> None:
    refused = await api.post("/v1/usage", USED | {"merchant_id": await world.connect()})
    assert (refused.status, refused.problem) == (400, "idempotency-key-missing")
    assert await counts(world) == (0, 0)


async def test_a_repeat_counts_once_and_answers_the_same(api: Api, world: World) -> None:
    body = USED | {"merchant_id": await world.connect()}
    first = await api.post("/v1/usage", body, Idempotency_Key="k1")
    again = await api.post("/v1/usage", body, Idempotency_Key="k1")
    assert again.body == first.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await counts(world) == (1, 1)


async def test_a_repeat_is_answered_even_when_its_time_has_left_the_window(api: Api, world: World) -> None:
    stamp = datetime.now(UTC).isoformat()
    body = USED | {"merchant_id": await world.connect(), "timestamp": stamp}
    first = await api.post("/v1/usage", body, Idempotency_Key="k1")
    async with world.database.transaction() as db:
        await travel_to(db, datetime.now(UTC) + timedelta(days=40))
    assert (await api.post("/v1/usage", body, Idempotency_Key="k1")).body == first.body


async def test_the_same_key_with_another_body_or_path_is_refused(api: Api, world: World) -> None:
    merchant = await world.connect()
    await api.post("/v1/usage", USED | {"merchant_id": merchant}, Idempotency_Key="k1")
    other = await api.post("/v1/usage", USED | {"merchant_id": merchant, "amount": 8}, Idempotency_Key="k1")
    task = {"merchant_id": merchant, "task_type": "job", "payload": {}}
    elsewhere = await api.post("/v1/tasks", task, Idempotency_Key="k1")
    for refused in (other, elsewhere):
        assert (refused.status, refused.problem) == (422, "idempotency-key-reused")
    assert await counts(world) == (1, 1)


async def test_the_same_key_of_two_callers_is_two_keys(api: Api, world: World) -> None:
    body = USED | {"merchant_id": await world.connect()}
    await api.post("/v1/usage", body, Idempotency_Key="k1")
    await api.as_(await world.key()).post("/v1/usage", body, Idempotency_Key="k1")
    assert await counts(world) == (2, 2)


async def test_many_at_once_with_one_key_make_one_row_and_get_one_answer(api: Api, world: World) -> None:
    body = USED | {"merchant_id": await world.connect()}
    await api.get("/v1/stats")  # the key is touched now, so that its row keeps no call waiting
    replies = await asyncio.gather(*(api.post("/v1/usage", body, Idempotency_Key="k1") for _ in range(12)))
    assert {reply.status for reply in replies} == {201}
    assert len({reply.body["id"] for reply in replies}) == 1
    assert sum("Idempotent-Replayed" not in reply.headers for reply in replies) == 1
    assert await counts(world) == (1, 1)


async def test_nothing_is_logged_when_its_report_cannot_be_queued(api: Api, world: World) -> None:
    await world.execute(f"REVOKE INSERT ON scheduled_tasks FROM {Role.LEDGER}")
    await world.execute(
        "REVOKE INSERT (merchant_id, task_type, payload, run_at, unique_key, max_attempts) "
        f"ON scheduled_tasks FROM {Role.LEDGER}"
    )
    reply = await api.post("/v1/usage", USED | {"merchant_id": await world.connect()}, Idempotency_Key="k1")
    assert reply.status == 500
    assert await counts(world) == (0, 0)
    assert await world.value("SELECT count(*) FROM idempotency_keys") == 0


WRONG_FIELDS: list[tuple[str, Any]] = [
    ("amount", 0),
    ("amount", -1),
    ("amount", 2**53),
    ("amount", 2**64 - 1),
    ("amount", 1.5),
    ("amount", "7"),
    ("amount", True),
    ("amount", None),
    ("metric_type", "recovery_recovered"),
    ("metric_type", "recovery_"),
    ("metric_type", "attempt"),
    ("metric_type", "message"),
    ("metric_type", "Upper"),
    ("metric_type", "a\n"),
    ("metric_type", "a" * 65),
    ("metric_type", "nul\x00"),
    ("customer_id", "jane@example.com"),
    ("customer_id", "cus_"),
    ("customer_id", "cus_1\x00"),
    ("event_name", ""),
    ("event_name", "jane@example.com"),
    ("merchant_id", 5),
    ("merchant_id", "{00000000-0000-0000-0000-000000000000}"),
    ("timestamp", 1_700_000_000),
    ("timestamp", "1700000000"),
    ("timestamp", "2026-01-01T00:00:00"),
    ("timestamp", "0001-01-01T00:00:00+10:00"),
    ("timestamp", "2026-02-30T00:00:00Z"),
    ("surplus", 1),
]


async def test_a_wrong_field_is_named(api: Api, world: World) -> None:
    merchant = await world.connect()
    for field, value in WRONG_FIELDS:
        refused = await api.post("/v1/usage", USED | {"merchant_id": merchant, field: value}, Idempotency_Key="k1")
        assert (refused.status, refused.problem, refused.fields) == (422, "invalid-body", [field]), value
    assert await counts(world) == (0, 0)


@pytest.mark.parametrize(
    ("offset", "status"),
    [
        (timedelta(days=-35) + timedelta(minutes=1), 201),
        (timedelta(days=-35, minutes=-1), 422),
        (timedelta(minutes=4), 201),
        (timedelta(minutes=6), 422),
    ],
)
async def test_a_time_that_stripe_would_not_take_is_refused(
    api: Api, world: World, offset: timedelta, status: int
) -> None:
    stamp = (datetime.now(UTC) + offset).isoformat()
    body = USED | {"merchant_id": await world.connect(), "timestamp": stamp}
    assert (await api.post("/v1/usage", body, Idempotency_Key="k1")).status == status


async def test_an_idempotency_key_that_is_none_is_malformed(api: Api, world: World) -> None:
    body = USED | {"merchant_id": await world.connect()}
    for key in ("", "a b", "ä", "x" * 256, "tab\tinside"):
        refused = await api.post("/v1/usage", body, Idempotency_Key=key)
        assert (refused.status, refused.fields) == (400, ["Idempotency-Key"]), key
