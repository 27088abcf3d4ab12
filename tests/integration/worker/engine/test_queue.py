"""What the queue promises beyond one task: lanes, order within a recovery, pauses, limits, hints, fences in bulk."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.worker import metrics
from services.worker.engine.janitor import Rescuer
from services.worker.engine.loop import Engine, Pace
from shared.database import Database, Role
from shared.ids import MerchantId, RecoveryId
from shared.queue import control, queued, tasks
from shared.queue.control import Which
from shared.queue.lanes import LANES, Lanes
from shared.queue.limits import NO_LIMITS, TaskLimits, claim_within
from shared.queue.tasks import NewTask, Task
from tests.conftest import OpenDatabase
from tests.integration.worker.engine.bench import MERCHANT, PACE, Bench, Probe
from tests.waiting import until
from tests.world import World

LEASE = timedelta(seconds=30)


async def _fill(database: Database, merchant: str, count: int, task_type: str = "probe") -> None:
    async with database.transaction() as db:
        await db.execute(
            "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) "
            "SELECT $1, $3, '{}' FROM generate_series(1, $2)",
            merchant,
            count,
            task_type,
        )


async def _claim(database: Database, limit: int = 100, lanes: Lanes | None = None) -> list[Task]:
    async with database.statement() as db:
        return await tasks.claim(db, "w", limit, LEASE, lanes)


# -- lanes ---------------------------------------------------------------------------------------


async def test_a_merchant_with_thousands_of_due_tasks_does_not_delay_another(database: Database) -> None:
    await _fill(database, "whale", 3_000)
    lanes = Lanes()
    assert {task.merchant_id for task in await _claim(database, 100, lanes)} == {"whale"}
    await _fill(database, "small", 1)
    first, second = await _claim(database, 100, lanes), await _claim(database, 100, lanes)
    assert "small" in {task.merchant_id for task in first + second}


async def test_merchants_are_served_in_turn(database: Database) -> None:
    merchants = [MerchantId(name) for name in ("a", "b", "c")]
    for merchant in merchants:
        await _fill(database, merchant, 100)
    lanes, served = Lanes(), []
    for _ in range(6):
        served += [task.merchant_id for task in await _claim(database, 30, lanes)]
    counts = {merchant: served.count(merchant) for merchant in merchants}
    assert min(counts.values()) > 30, counts


async def test_a_claim_reads_no_more_of_a_lane_than_it_takes(database: Database, open_database: OpenDatabase) -> None:
    await _fill(database, "a", 20_000)
    async with database.transaction() as db:
        await db.execute("ANALYZE scheduled_tasks")
    start = Lanes().next_round(100)
    async with open_database(Role.WORKER) as worker, worker.transaction() as db:
        (explained,) = await db.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {tasks.CLAIM}",
            *("w", 100, LEASE, start.numbers, start.run_ats, start.ids, 100),
        )
    scans = list(_scans(explained["Plan"], "scheduled_tasks"))
    assert "scheduled_tasks_lanes" in {name for name, _ in scans}
    assert sum(rows for _, rows in scans) < 1_000, scans  # the candidates, and the same rows again for the update
    assert len(start.numbers) == LANES


def _scans(plan: Any, table: str) -> Iterator[tuple[str, float]]:
    """(index, rows that it gave) of every scan of the table below a node of a plan."""
    if plan.get("Relation Name") == table and "Scan" in plan["Node Type"]:
        rows = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
        yield plan.get("Index Name", plan["Node Type"]), rows
    for child in plan.get("Plans", []):
        yield from _scans(child, table)


OLD_TASK = (
    "INSERT INTO scheduled_tasks (public_id, merchant_id, task_type, payload) "
    "VALUES ('7f0cbd7e-3f9b-4c38-9b6c-000000000001', 'm', 't', '{}')"
)


@pytest.mark.parametrize(
    "insert",
    [
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) VALUES ('m', 't', '{}')",
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) VALUES ('m', 't', '{}'), ('m', 't', '{}')",
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) SELECT 'm', 't', '1' FROM generate_series(1, 3)",
        OLD_TASK,  # before 0017
    ],
)
async def test_a_task_is_found_by_its_public_id(database: Database, insert: str) -> None:
    async with database.transaction() as db:
        await db.execute(insert)
        rows = await db.fetch("SELECT id, public_id, citadel_task_number(public_id) AS found FROM scheduled_tasks")
        unknown = await db.fetchval("SELECT citadel_task_number(gen_random_uuid())")
    assert [row["found"] for row in rows] == [row["id"] for row in rows]
    assert len({row["public_id"] for row in rows}) == len(rows)
    assert unknown is None


async def test_a_task_that_committed_late_is_found_behind_the_mark(database: Database) -> None:
    await _fill(database, "m", 10)
    lanes = Lanes()
    assert len(await _claim(database, 10, lanes)) == 10
    async with database.transaction() as db:
        await db.execute(
            "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, run_at) "
            "VALUES ('m', 'late', '{}', citadel_now() - interval '1 hour')"
        )
    lanes.look_behind()
    assert [task.task_type for task in await _claim(database, 10, lanes)] == ["late"]


# -- fences --------------------------------------------------------------------------------------


async def test_a_bulk_completion_changes_only_what_is_still_held(database: Database) -> None:
    await _fill(database, "m", 4)
    claimed = await _claim(database)
    async with database.transaction() as db:
        await db.execute("UPDATE scheduled_tasks SET fence = fence + 1 WHERE id = $1", claimed[0].id)
        assert await tasks.complete_many(db, claimed) == {task.id for task in claimed[1:]}
        assert await tasks.complete_many(db, claimed[1:]) == set()
        rows = await db.fetch("SELECT id FROM scheduled_tasks WHERE status = 'running'")
    assert [row["id"] for row in rows] == [claimed[0].id]


@pytest.mark.parametrize(
    "end",
    [
        lambda task: tasks.to_retry(task, timedelta(0), "late"),
        lambda task: tasks.to_postpone(task, timedelta(0), "late"),
        lambda task: tasks.to_bury(task, "late"),
        tasks.to_release,
    ],
    ids=["retry", "postpone", "bury", "release"],
)
async def test_no_end_of_a_run_under_an_old_fence_changes_anything(
    database: Database, end: Callable[[Task], tasks.End]
) -> None:
    await _fill(database, "m", 1)
    (old,) = await _claim(database)
    async with database.transaction() as db:
        assert await tasks.release(db, old)
    (held,) = await _claim(database)
    async with database.transaction() as db:
        before = await db.fetchrow("SELECT * FROM scheduled_tasks")
        assert await tasks.end_many(db, [end(old)]) == set()
        assert await db.fetchrow("SELECT * FROM scheduled_tasks") == before
        assert await tasks.end_many(db, [end(held)]) == {held.id}


async def test_a_completion_that_comes_too_late_is_counted_and_without_effect(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "wait"}, {"n": 2})
    before = metrics.LOST_LEASES.labels("probe")._value.get()
    async with bench.running(pace=Pace(lease=timedelta(minutes=5), poll=(0.005, 60), grace_seconds=5)) as engine:
        await bench.probe.started.wait()
        await bench.rows("UPDATE scheduled_tasks SET fence = fence + 1 WHERE payload->>'n' = '1' RETURNING id")
        bench.probe.gate.set()
        await bench.idle(engine)
    assert metrics.LOST_LEASES.labels("probe")._value.get() == before + 1
    assert await bench.effects() == [2]


async def test_one_effect_that_fails_does_not_fail_its_neighbours(bench: Bench) -> None:
    bad = {"n": 0, "does": "break the commit"}
    await bench.queue(*({"n": n} for n in range(1, 40)), bad, max_tries=1)
    async with bench.running():
        await bench.settled()
    assert await bench.effects() == list(range(1, 40))
    assert (await bench.statuses()).count("dead") == 1


# -- one recovery, one task ----------------------------------------------------------------------


async def _two_of_one_recovery(database: Database) -> None:
    recovery = RecoveryId(uuid4())
    async with database.transaction() as db:
        for name in ("first", "second"):
            await tasks.enqueue(db, NewTask(MERCHANT, name, recovery_id=recovery))


async def test_of_one_recovery_one_task_runs_at_a_time(database: Database) -> None:
    await _two_of_one_recovery(database)
    (first,) = await _claim(database)
    assert await _claim(database) == []
    await _fill(database, "m", 1, "behind")
    assert [task.task_type for task in await _claim(database)] == ["behind"], "the one that waits holds up no other"
    async with database.transaction() as db:
        assert await tasks.complete(db, first)
    assert [task.task_type for task in await _claim(database)] == ["second"]


async def test_two_tasks_of_one_recovery_cannot_run_even_if_a_claim_errs(database: Database) -> None:
    await _two_of_one_recovery(database)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with database.transaction() as db:
            await db.execute("UPDATE scheduled_tasks SET status = 'running', locked_by = 'w', lease_expires_at = now()")


@pytest.mark.parametrize("limits", [NO_LIMITS, TaskLimits(in_all=100)])
async def test_a_worker_that_comes_second_to_a_recovery_takes_nothing_and_goes_on(
    database: Database, open_database: OpenDatabase, limits: TaskLimits
) -> None:
    await _two_of_one_recovery(database)

    async def claim() -> list[Task]:
        async with database.transaction() as db:
            return await claim_within(db, limits, "second", 10, LEASE, Lanes())

    async with open_database(None) as elsewhere, elsewhere.transaction() as db:
        assert len(await tasks.claim(db, "first", 1, LEASE)) == 1
        late = asyncio.create_task(claim())
        await World(database).until_someone_waits_for_a_lock()
    with pytest.raises(asyncpg.UniqueViolationError):
        await late
    assert await claim() == []


async def test_a_worker_that_comes_second_goes_on_with_what_else_is_due(bench: Bench) -> None:
    recovery = RecoveryId(uuid4())
    async with bench.database.transaction() as db:
        for _ in range(2):
            await tasks.enqueue(db, NewTask(MERCHANT, "probe", {"n": 1}, recovery_id=recovery))
        await tasks.enqueue(db, NewTask(MerchantId("another"), "probe", {"n": 2}))
    probe = Probe()
    pace = replace(PACE, limits=TaskLimits(in_all=100))
    async with bench.open_worker() as database, bench.open_worker() as elsewhere:
        engine = Engine("second", database, {"probe": probe}, bench.outside, pace)
        async with elsewhere.transaction() as db:
            # The first of the recovery is taken, and not committed yet.
            await db.execute(
                "UPDATE scheduled_tasks SET status = 'running', locked_by = 'first', fence = 1, "
                "lease_expires_at = now() + interval '1 min' "
                "WHERE id = (SELECT min(id) FROM scheduled_tasks WHERE recovery_id = $1)",
                recovery,
            )
            running = asyncio.create_task(engine.run_due())
            await bench.until_someone_waits_for_a_lock()
        await running
    (row,) = await bench.rows("SELECT status FROM scheduled_tasks WHERE merchant_id = 'another'")
    assert row["status"] == "succeeded"


# -- unique tasks --------------------------------------------------------------------------------


async def test_the_same_unique_key_is_queued_once_while_its_task_is_pending_or_running(database: Database) -> None:
    async def queue() -> bool:
        async with database.transaction() as db:
            return await tasks.enqueue(db, NewTask(MERCHANT, "probe", unique_key="k")) is not None

    assert sorted(await asyncio.gather(*(queue() for _ in range(4)))) == [False, False, False, True]
    (running,) = await _claim(database)
    assert not await queue()
    async with database.transaction() as db:
        assert await tasks.complete(db, running)
    assert await queue()


# -- a poisoned task -----------------------------------------------------------------------------


async def test_a_task_that_kills_its_workers_dies_and_takes_no_neighbour_along(bench: Bench) -> None:
    """A worker that dies is played by one that claims and is never heard of again."""
    await bench.queue({"n": 0}, *({"n": n} for n in range(1, 21)), max_tries=4)
    async with bench.open_worker() as database:
        rescuer = Rescuer(database, bench.handlers, 1)
        for _ in range(3):
            await bench.rows("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE status = 'pending' RETURNING id")
            async with database.statement() as db:
                await tasks.claim(db, "doomed", 100, timedelta(seconds=-1))
            await rescuer.rescue()
        await bench.rows("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE status = 'pending' RETURNING id")
        engine = bench.engine("w", database)
        stop = asyncio.Event()
        most = 0
        loop = asyncio.create_task(engine.run(stop))

        async def statuses() -> set[str]:
            nonlocal most
            most = max(most, len(engine._quarantine._inside))
            return set(await bench.statuses())

        await until(statuses, "every task has ended", lambda found: not {"pending", "running"} & found, pause_s=0)
        stop.set()
        await loop
    assert await bench.effects() == list(range(21))
    assert most <= 1  # with their last attempt, suspects run apart from each other


# -- pauses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [Which(MERCHANT), Which(None, "probe"), Which(MERCHANT, "probe")])
async def test_what_is_paused_is_not_handed_out_until_it_is_resumed(database: Database, which: Which) -> None:
    await _fill(database, "m", 3)
    await _fill(database, "other", 2, "another")
    async with database.transaction() as db:
        assert await control.pause(db, which, "for a test")
        assert not await control.pause(db, which, "again")
    assert {task.merchant_id for task in await _claim(database)} == {"other"}
    await _fill(database, "m", 1)
    assert await _claim(database) == []
    async with database.transaction() as db:
        assert await db.fetchval("SELECT count(*) FROM scheduled_tasks WHERE parked AND fence = 0") == 4
        assert await control.unpark(db) == 0
        assert await control.resume(db, which)
        assert await control.unpark(db) == 4
        assert not await control.resume(db, which)
    assert [task.tries for task in await _claim(database)] == [1] * 4


async def test_a_parked_task_is_canceled_like_any_other_and_lives_again_unparked(database: Database) -> None:
    await _fill(database, "m", 1)
    async with database.transaction() as db:
        await control.pause(db, Which(MERCHANT), "")
    assert await _claim(database) == []
    async with database.transaction() as db:
        assert await queued.cancel_of_merchant(db, MERCHANT, "gone") == 1
        assert await control.unpark(db) == 0


# -- dead letters --------------------------------------------------------------------------------


async def test_dead_letters_live_again_by_filter_and_keep_keys_unique(database: Database) -> None:
    async with database.transaction() as db:
        merchant = await db.fetchval("INSERT INTO merchants (stripe_connect_id) VALUES ('acct_1') RETURNING id::text")
        await db.execute(
            "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, unique_key, attempts) VALUES "
            "($1, 'a', '{}', 'dead', 'k', 9), ($1, 'a', '{}', 'dead', 'k', 9), ($1, 'a', '{}', 'dead', NULL, 9), "
            "($1, 'b', '{}', 'dead', 'taken', 9), ($1, 'b', '{}', 'pending', 'taken', 0), "
            "(gen_random_uuid()::text, 'a', '{}', 'dead', NULL, 9)",
            merchant,
        )
        assert await control.revive(db, Which(None, "b")) == 0
        assert await control.revive(db, Which(merchant, "a")) == 2
        rows = await db.fetch("SELECT attempts FROM scheduled_tasks WHERE status = 'pending' AND task_type = 'a'")
    assert [row["attempts"] for row in rows] == [0, 0]


# -- limits --------------------------------------------------------------------------------------


async def test_the_limits_on_tasks_hold_over_all_workers(database: Database) -> None:
    await _fill(database, "whale", 50)
    await _fill(database, "small", 2)
    limits = TaskLimits(of_merchant=3, in_all=4)

    async def claim(name: str) -> list[Task]:
        async with database.transaction() as db:
            return await claim_within(db, limits, name, 20, LEASE, Lanes())

    claimed = [task for each in await asyncio.gather(*(claim(f"w{n}") for n in range(4))) for task in each]
    async with database.transaction() as db:
        running = await db.fetch(
            "SELECT merchant_id, count(*) AS n FROM scheduled_tasks WHERE status = 'running' GROUP BY 1"
        )
        burnt = await db.fetchval("SELECT max(attempts) FROM scheduled_tasks WHERE status = 'pending'")
    counts = {row["merchant_id"]: row["n"] for row in running}
    assert sum(counts.values()) == len(claimed) <= 4
    assert counts["whale"] <= 3
    assert burnt == 0


async def test_one_merchant_s_limit_leaves_its_tasks_waiting_and_no_other_s(database: Database) -> None:
    await _fill(database, "whale", 50)
    await _fill(database, "small", 2)
    limits = TaskLimits(of_merchant=3)

    async def claim(name: str) -> list[Task]:
        async with database.transaction() as db:
            return await claim_within(db, limits, name, 20, LEASE, Lanes())

    claimed = [task for each in await asyncio.gather(*(claim(f"w{n}") for n in range(4))) for task in each]
    assert Counter(task.merchant_id for task in claimed) == {"whale": 3, "small": 2}


# -- hints ---------------------------------------------------------------------------------------


async def test_an_idle_worker_is_woken_by_the_hint(bench: Bench) -> None:
    pace = Pace(concurrency=2, batch=4, lease=timedelta(seconds=30), poll=(0.005, 3_600), grace_seconds=5)
    async with bench.running("idle", pace):
        await until(lambda: bench.rows("SELECT FROM idle_workers"), "the worker has said that it is idle")
        await bench.queue({"n": 1})
        await bench.settled()
    assert await bench.effects() == [1]
    assert await bench.rows("SELECT FROM idle_workers") == []


async def test_with_every_hint_lost_work_starts_within_the_polling_interval(bench: Bench) -> None:
    await bench.rows("ALTER TABLE scheduled_tasks DISABLE TRIGGER scheduled_tasks_hint; ".rstrip("; "))
    async with bench.running("deaf"):
        await until(lambda: bench.rows("SELECT FROM idle_workers"), "the worker has said that it is idle")
        await bench.queue({"n": 1})
        await bench.settled()
    assert await bench.effects() == [1]


async def test_nobody_is_notified_while_no_worker_is_idle(database: Database, database_url: str) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(database_url)
    await listener.add_listener("citadel_tasks", lambda *_: heard.append("x"))
    await _fill(database, "m", 1)
    async with database.transaction() as db:
        await db.execute("INSERT INTO idle_workers VALUES ('w', now() + interval '1 min')")
    await _fill(database, "m", 1)
    await until(lambda: heard, "the notification has come")
    assert heard == ["x"]
    await listener.close()


async def test_an_open_circuit_keeps_tasks_waiting_and_burns_no_attempt(bench: Bench) -> None:
    class Caller(Probe):
        calls = ("stripe",)

    caller = Caller()
    for _ in range(5):
        bench.outside.circuits.left("stripe", failed=True)
    await bench.queue({"n": 1}, max_tries=1)
    async with bench.open_worker() as database:
        engine = Engine("w", database, {"probe": caller}, bench.outside, PACE)
        assert await engine.run_due() == 1
    (row,) = await bench.rows(
        "SELECT status, attempts, run_at > citadel_now() AS later, last_error FROM scheduled_tasks"
    )
    assert tuple(row) == ("pending", 0, True, "stripe: circuit open")
    assert caller.performed == []
