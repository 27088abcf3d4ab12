"""Finished tasks stay readable by the API for the retention time, and go in small deletes."""

from uuid import UUID

import pytest

from services.worker.engine.janitor import BATCH, RETENTION, UPKEEP
from services.worker.engine.periodic import PeriodicRunner
from shared.database import Role
from tests.conftest import OpenDatabase
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

FINISHED = """
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, finished_at)
VALUES ($1, 'job', '{}', $2, citadel_now() - $3::interval)
RETURNING public_id
"""
MANY = """
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, finished_at)
SELECT 'm', 'old', '{}', 'succeeded', citadel_now() - interval '31 days' FROM generate_series(1, $1)
"""
AUDIT = """
CREATE TABLE deletes (transaction bigint, deleted bigint);
CREATE FUNCTION note_deletes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO deletes SELECT txid_current(), count(*) FROM gone;
    RETURN NULL;
END $$;
CREATE TRIGGER note_deletes AFTER DELETE ON scheduled_tasks REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION note_deletes();
"""


async def _prune(open_database: OpenDatabase) -> None:
    async with open_database(Role.WORKER) as worker:
        runner = PeriodicRunner(worker, [work for work in UPKEEP if work.name == "prune_scheduled_tasks"])
        while await runner.run_one():
            pass


@pytest.mark.parametrize("status", ["succeeded", "dead", "canceled"])
async def test_a_finished_task_is_readable_for_the_retention_time_and_gone_afterwards(
    api: Api, world: World, open_database: OpenDatabase, status: str
) -> None:
    merchant = await world.connect()
    retention = RETENTION["scheduled_tasks"]
    young: UUID = await world.value(FINISHED, merchant, status, retention * 0.99)
    old: UUID = await world.value(FINISHED, merchant, status, retention * 1.01)
    waiting = await world.task(merchant)
    await world.execute(
        "UPDATE scheduled_tasks SET run_at = citadel_now() - interval '1 year' WHERE status = 'pending'"
    )
    await _prune(open_database)
    reply = await api.get(f"/v1/tasks/{young}")
    assert (reply.status, reply.body["status"]) == (200, status)
    assert (await api.get(f"/v1/tasks/{old}")).status == 404
    assert (await api.get(f"/v1/tasks/{waiting}")).status == 200
    listed = await api.get("/v1/tasks", merchant_id=merchant)
    assert {each["id"] for each in listed.body["data"]} == {str(young), str(waiting)}


async def test_however_much_is_old_no_delete_is_long(world: World, open_database: OpenDatabase) -> None:
    await world.execute(MANY, 2 * BATCH + 1)
    await world.execute(AUDIT)
    await _prune(open_database)
    assert await world.value("SELECT count(*) FROM scheduled_tasks") == 0
    assert await world.value("SELECT sum(deleted) FROM deletes") == 2 * BATCH + 1
    longest = "SELECT max(sum) FROM (SELECT sum(deleted) FROM deletes GROUP BY transaction) AS each"
    assert await world.value(longest) <= BATCH
