"""Upkeep: what is rescued, what is pruned, what is found again, and that it happens once."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from services.worker.engine.janitor import UPKEEP, Rescuer
from services.worker.engine.periodic import Periodic, PeriodicRunner
from shared.database import Connection, Role
from shared.queue import tasks
from shared.queue.tasks import NewTask
from tests.conftest import OpenDatabase
from tests.integration.worker.engine.bench import MERCHANT
from tests.integration.worker.world import World


async def _all(world: World) -> None:
    runner = PeriodicRunner(world.worker, UPKEEP)
    while await runner.run_one():
        pass


async def test_periodic_work_is_done_once_however_many_workers_look(world: World, open_database: OpenDatabase) -> None:
    done: list[int] = []

    async def work(db: Connection) -> bool:
        done.append(await db.fetchval("SELECT 1"))
        return False

    def runner() -> PeriodicRunner:
        return PeriodicRunner(world.worker, [Periodic("probe", timedelta(hours=1), work)])

    await asyncio.gather(*(runner().run_one() for _ in range(6)))
    assert done == [1]
    await world.pass_time(minutes=61)
    await asyncio.gather(*(runner().run_one() for _ in range(6)))
    assert done == [1, 1]


async def test_periodic_work_that_fails_is_due_still(world: World) -> None:
    tries: list[int] = []

    async def work(_db: Connection) -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("the first time")
        return False

    runner = PeriodicRunner(world.worker, [Periodic("probe", timedelta(hours=1), work)])
    with pytest.raises(RuntimeError, match="the first time"):
        await runner.run_one()
    assert await runner.run_one()
    assert len(tries) == 2


async def test_old_rows_are_pruned_and_young_ones_stay(world: World) -> None:
    await world.execute(
        "INSERT INTO processed_events (event_id, processed_at) VALUES "
        "('evt_old', citadel_now() - interval '36 days'), ('evt_young', citadel_now() - interval '34 days')"
    )
    await world.execute(
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, finished_at) VALUES "
        "('m', 'old', '{}', 'succeeded', citadel_now() - interval '31 days'), "
        "('m', 'young', '{}', 'succeeded', citadel_now() - interval '29 days'), "
        "('m', 'pending', '{}', 'pending', NULL)"
    )
    await world.execute("INSERT INTO oauth_states VALUES ('\\x01', now(), now() - interval '2 hours')")
    await world.execute("INSERT INTO oauth_states VALUES ('\\x02', now(), now() + interval '10 minutes')")
    await world.execute(
        "INSERT INTO idempotency_keys VALUES "
        "(gen_random_uuid(), 'old', '\\x', 200, '{}', citadel_now() - interval '8 days'), "
        "(gen_random_uuid(), 'young', '\\x', 200, '{}', citadel_now() - interval '6 days')"
    )
    # What was said of a charge that was never booked as recovered; what was booked stays, however old it is.
    await world.execute(
        "INSERT INTO money_back"
        " (merchant_id, kind, external_id, charge_id, amount, currency, moved_at, noted_at, booked)"
        " SELECT 'm', 'refund', name, 'ch_1', 1, 'usd', now(), citadel_now() - days * interval '1 day', booked"
        " FROM (VALUES ('old', 91, false), ('young', 89, false), ('booked', 91, true)) AS v (name, days, booked)"
    )
    await _all(world)
    kept = await world.rows("SELECT external_id FROM money_back ORDER BY external_id")
    assert [row["external_id"] for row in kept] == ["booked", "young"]
    assert [row["event_id"] for row in await world.rows("SELECT event_id FROM processed_events")] == ["evt_young"]
    kept = await world.rows("SELECT task_type FROM scheduled_tasks WHERE merchant_id = 'm' ORDER BY task_type")
    assert [row["task_type"] for row in kept] == ["pending", "young"]
    assert len(await world.rows("SELECT nonce_hash FROM oauth_states")) == 1
    assert [row["key"] for row in await world.rows("SELECT key FROM idempotency_keys")] == ["young"]


async def test_a_recovery_without_a_task_gets_one(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.execute("DELETE FROM scheduled_tasks WHERE recovery_id = $1", failed.recovery_id)
    await _all(world)
    assert len(await failed.tasks()) == 1
    assert (await failed.finish())["state"] == "recovered"


async def test_a_recovery_whose_task_is_dead_gets_another_one_a_day(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    died = "UPDATE scheduled_tasks SET status = 'dead', finished_at = citadel_now() WHERE status = 'pending'"
    counted = REGISTRY.get_sample_value("citadel_recoveries_dead_total") or 0
    for _ in range(2):
        await world.execute(died)
        await world.pass_time(hours=23)
        await _all(world)
        assert await failed.tasks() == [], "an operator may look first"
        await world.pass_time(hours=2)
        await _all(world)
        assert len(await failed.tasks()) == 1
    assert REGISTRY.get_sample_value("citadel_recoveries_dead_total") == counted + 2
    assert (await failed.finish())["state"] == "recovered"


async def test_an_active_merchant_has_a_digest_ahead_and_a_gone_one_has_none(world: World) -> None:
    await world.execute("INSERT INTO merchants (stripe_connect_id, status) VALUES ('acct_gone', 'deauthorized')")
    await _all(world)
    await _all(world)
    digests = await world.rows("SELECT merchant_id FROM scheduled_tasks WHERE task_type = 'send_weekly_digest'")
    assert [row["merchant_id"] for row in digests] == [world.merchant_id]


async def test_a_dead_worker_s_task_is_rescued_and_dies_with_its_attempts(open_database: OpenDatabase) -> None:
    async with open_database(Role.WORKER) as database:
        async with database.transaction() as db:
            await tasks.enqueue(db, NewTask(MERCHANT, "probe", max_tries=2))
        rescuer = Rescuer(database, {}, 1)
        for expected in ("pending", "dead"):
            async with database.transaction() as db:
                await db.execute("UPDATE scheduled_tasks SET run_at = citadel_now()")
                assert len(await tasks.claim(db, "doomed", 1, timedelta(seconds=-1))) == 1
            assert await rescuer.rescue() == 1
            async with database.transaction() as db:
                assert await db.fetchval("SELECT status FROM scheduled_tasks") == expected
        assert await rescuer.rescue() == 0
