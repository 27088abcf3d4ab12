"""Tasks through the API: created once, retried, taken away, never under somebody's feet."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.api_keys import Scope
from shared.queue import tasks
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

JOB: dict[str, Any] = {"task_type": "job", "payload": {"invoice_id": "in_1"}}


async def test_a_created_task_is_claimed_by_the_next_worker(api: Api, world: World) -> None:
    merchant = await world.connect()
    made = await api.post("/v1/tasks", JOB | {"merchant_id": merchant})

    async with world.database.transaction() as db:
        (claimed,) = await tasks.claim(db, "worker", 10, timedelta(minutes=1))

    assert made.status == 201
    assert made.headers["Location"] == f"/v1/tasks/{made.body['id']}"
    assert (str(claimed.public_id), claimed.merchant_id, claimed.task_type, claimed.payload) == (
        made.body["id"],
        merchant,
        "job",
        {"invoice_id": "in_1"},
    )


async def test_a_merchants_key_creates_for_its_own_merchant_without_naming_it(api: Api, world: World) -> None:
    merchant = await world.connect()
    own = api.as_(await world.key(merchant))
    assert (await own.post("/v1/tasks", JOB)).body["merchant_id"] == merchant
    assert (await own.post("/v1/tasks", JOB | {"merchant_id": merchant})).status == 201


async def test_a_task_for_no_unknown_or_another_tenants_merchant_is_a_422(api: Api, world: World) -> None:
    one, other = await world.connect(), await world.connect()
    own = api.as_(await world.key(one))
    none = await api.post("/v1/tasks", JOB)
    unknown = await api.post("/v1/tasks", JOB | {"merchant_id": "00000000-0000-0000-0000-000000000000"})
    theirs = await own.post("/v1/tasks", JOB | {"merchant_id": other})
    for refused in (none, unknown, theirs):
        assert (refused.status, refused.fields) == (422, ["merchant_id"])
    assert await world.value("SELECT count(*) FROM scheduled_tasks") == 0


async def test_a_task_for_a_merchant_that_is_gone_is_a_409(api: Api, world: World) -> None:
    merchant = await world.connect()
    dead = await world.task(merchant, "dead")
    await world.execute("UPDATE merchants SET status = 'deauthorized', access_token = NULL, refresh_token = NULL")
    created = await api.post("/v1/tasks", JOB | {"merchant_id": merchant})
    retried = await api.post(f"/v1/tasks/{dead}/retry")
    assert (created.status, created.problem) == (409, "merchant-not-active")
    assert (retried.status, retried.problem) == (409, "merchant-not-active")


async def test_a_time_that_has_passed_means_now_and_jumps_no_line(api: Api, world: World) -> None:
    merchant = await world.connect()
    body = JOB | {"merchant_id": merchant, "run_at": "2001-01-01T00:00:00Z"}
    run_at = datetime.fromisoformat((await api.post("/v1/tasks", body)).body["run_at"])
    assert abs(datetime.now(UTC) - run_at) < timedelta(minutes=1)


async def test_a_time_to_come_is_kept(api: Api, world: World) -> None:
    body = JOB | {"merchant_id": await world.connect(), "run_at": "2131-01-01T02:00:00.5+02:00"}
    assert (await api.post("/v1/tasks", body)).body["run_at"] == "2131-01-01T00:00:00.500000Z"


async def test_a_unique_key_is_taken_while_its_task_is_pending(api: Api, world: World) -> None:
    body = JOB | {"merchant_id": await world.connect(), "unique_key": "nightly"}
    first = await api.post("/v1/tasks", body)
    second = await api.post("/v1/tasks", body)
    await api.delete(f"/v1/tasks/{first.body['id']}")
    third = await api.post("/v1/tasks", body)
    assert (first.status, first.body["unique_key"]) == (201, "nightly")
    assert (second.status, second.problem) == (409, "unique-key-taken")
    assert third.status == 201


async def test_no_tenant_can_take_a_unique_key_of_another_or_of_the_engine(api: Api, world: World) -> None:
    one, other = await world.connect(), await world.connect()
    body = JOB | {"unique_key": f"send_weekly_digest:{other}"}
    await api.as_(await world.key(one)).post("/v1/tasks", body)
    engine = tasks.NewTask(other, "send_weekly_digest", unique_key=f"send_weekly_digest:{other}")
    async with world.database.transaction() as db:
        assert await tasks.enqueue(db, engine) is not None
    assert (await api.as_(await world.key(other)).post("/v1/tasks", body)).status == 201


@pytest.mark.parametrize("status", ["dead", "canceled"])
async def test_a_dead_or_canceled_task_is_retried_with_all_its_attempts(api: Api, world: World, status: str) -> None:
    task = await world.task(await world.connect(), status)
    retried = await api.post(f"/v1/tasks/{task}/retry")
    assert retried.status == 200
    assert (retried.body["status"], retried.body["attempts"], retried.body["finished_at"]) == ("pending", 0, None)


@pytest.mark.parametrize("status", ["pending", "running", "succeeded"])
async def test_any_other_task_cannot_be_retried(api: Api, world: World, status: str) -> None:
    task = await world.task(await world.connect(), status)
    refused = await api.post(f"/v1/tasks/{task}/retry")
    assert (refused.status, refused.problem) == (409, "wrong-status")
    assert (await api.get(f"/v1/tasks/{task}")).body["status"] == status


async def test_a_retry_whose_unique_key_is_queued_again_is_refused(api: Api, world: World) -> None:
    merchant = await world.connect()
    dead = await world.task(merchant, "dead", unique_key="digest")
    await world.task(merchant, "pending", unique_key="digest")
    refused = await api.post(f"/v1/tasks/{dead}/retry")
    assert (refused.status, refused.problem) == (409, "unique-key-taken")
    assert (await api.get(f"/v1/tasks/{dead}")).body["status"] == "dead"


@pytest.mark.parametrize("status", ["pending", "dead", "canceled"])
async def test_a_deleted_task_is_canceled_and_stays_to_be_seen(api: Api, world: World, status: str) -> None:
    task = await world.task(await world.connect(), status)
    assert (await api.delete(f"/v1/tasks/{task}")).status == 200
    assert (await api.delete(f"/v1/tasks/{task}")).status == 200
    assert (await api.get(f"/v1/tasks/{task}")).body["status"] == "canceled"


@pytest.mark.parametrize("status", ["running", "succeeded"])
async def test_a_task_that_runs_or_is_done_cannot_be_deleted(api: Api, world: World, status: str) -> None:
    task = await world.task(await world.connect(), status)
    refused = await api.delete(f"/v1/tasks/{task}")
    assert (refused.status, refused.problem) == (409, "wrong-status")


async def test_a_deleted_task_is_never_claimed(api: Api, world: World) -> None:
    task = await world.task(await world.connect())
    await api.delete(f"/v1/tasks/{task}")
    async with world.database.transaction() as db:
        assert await tasks.claim(db, "worker", 10, timedelta(minutes=1)) == []


async def test_a_delete_and_a_claim_at_once_never_both_win(api: Api, world: World) -> None:
    merchant = await world.connect()
    for _ in range(20):
        task = await world.task(merchant)

        async def claim() -> int:
            async with world.database.transaction() as db:
                return len(await tasks.claim(db, "worker", 10, timedelta(minutes=1)))

        deleted, claimed = await asyncio.gather(api.delete(f"/v1/tasks/{task}"), claim())
        # Whoever locks the row first wins: the claim skips a locked row, the delete waits and finds it running.
        assert (deleted.status == 200, claimed) in {(True, 0), (False, 1)}


async def test_a_write_with_the_version_that_was_seen_goes_through_and_one_with_an_old_one_does_not(
    api: Api, world: World
) -> None:
    task = await world.task(await world.connect(), "dead")
    seen = (await api.get(f"/v1/tasks/{task}")).headers["ETag"]
    retried = await api.post(f"/v1/tasks/{task}/retry", If_Match=seen)
    refused = await api.delete(f"/v1/tasks/{task}", If_Match=seen)
    deleted = await api.delete(f"/v1/tasks/{task}", If_Match=retried.headers["ETag"])
    assert retried.status == 200
    assert (refused.status, refused.problem) == (409, "version-conflict")
    assert deleted.status == 200


async def test_a_worker_that_touched_the_task_makes_the_seen_version_old(api: Api, world: World) -> None:
    task = await world.task(await world.connect())
    seen = (await api.get(f"/v1/tasks/{task}")).headers["ETag"]
    async with world.database.transaction() as db:
        (claimed,) = await tasks.claim(db, "worker", 1, timedelta(minutes=1))
        await tasks.release(db, claimed)
    assert (await api.delete(f"/v1/tasks/{task}", If_Match=seen)).problem == "version-conflict"


async def test_an_if_match_that_does_not_name_the_version_lets_nothing_through(api: Api, world: World) -> None:
    task = await world.task(await world.connect())
    version = (await api.get(f"/v1/tasks/{task}")).body["version"]
    for value in (version, f'W/"{version}"', '"1", "2"', "garbage", "", "ä"):
        refused = await api.delete(f"/v1/tasks/{task}", If_Match=value)
        assert (refused.status, refused.problem) == (409, "version-conflict"), value
    assert (await api.delete(f"/v1/tasks/{task}", If_Match=f'"1", "{version}"')).status == 200
    assert (await api.delete(f"/v1/tasks/{task}", If_Match="*")).status == 200


async def test_tasks_are_found_by_each_filter(api: Api, world: World) -> None:
    merchant = await world.connect()
    recovery = await world.recovery(merchant)
    await world.task(await world.connect(), "dead", "other")
    found = (await api.get("/v1/tasks", recovery_id=recovery)).body["data"]
    assert [task["task_type"] for task in found] == ["dunning_retry"]
    for name, value in {"merchant_id": merchant, "status": "pending", "task_type": "dunning_retry"}.items():
        assert [task["id"] for task in (await api.get("/v1/tasks", **{name: value})).body["data"]] == [found[0]["id"]]


async def test_a_create_under_one_key_happens_once_and_answers_the_same(api: Api, world: World) -> None:
    body = JOB | {"merchant_id": await world.connect()}
    first = await api.post("/v1/tasks", body, Idempotency_Key="k1")
    again = await api.post("/v1/tasks", dict(reversed(body.items())), Idempotency_Key="k1")
    assert again.body == first.body
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert (again.headers["ETag"], again.headers["Location"]) == (first.headers["ETag"], first.headers["Location"])
    assert await world.value("SELECT count(*) FROM scheduled_tasks") == 1


async def test_a_retry_under_one_key_revives_once(api: Api, world: World) -> None:
    task = await world.task(await world.connect(), "dead")
    first = await api.post(f"/v1/tasks/{task}/retry", Idempotency_Key="k1")
    await world.execute("UPDATE scheduled_tasks SET status = 'dead', attempts = 9")
    again = await api.post(f"/v1/tasks/{task}/retry", Idempotency_Key="k1")
    assert again.body == first.body
    assert (await api.get(f"/v1/tasks/{task}")).body["status"] == "dead"


async def test_a_refused_write_keeps_nothing_under_its_key(api: Api, world: World) -> None:
    task = await world.task(await world.connect(), "pending")
    assert (await api.post(f"/v1/tasks/{task}/retry", Idempotency_Key="k")).status == 409
    await api.delete(f"/v1/tasks/{task}")
    assert (await api.post(f"/v1/tasks/{task}/retry", Idempotency_Key="k")).status == 200


async def test_reading_tasks_does_not_allow_writing_them(api: Api, world: World) -> None:
    merchant = await world.connect()
    reader = api.as_(await world.key(merchant, Scope.TASKS_READ))
    assert (await reader.get("/v1/tasks")).status == 200
    refused = await reader.post("/v1/tasks", JOB)
    assert (refused.status, refused.problem) == (403, "missing-scope")
