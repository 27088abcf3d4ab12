"""A merchant that comes back finds its recoveries where it left them."""

from typing import Any
from uuid import UUID

import pytest

from services.auth import merchants, store
from services.auth.oauth import GrantAnswer
from services.worker.catch_up.schedule import next_task
from shared import interventions
from shared.clock import business_now
from shared.crypto import KeyRing
from shared.database import Role
from shared.queue import tasks
from shared.recovery_model import OperatorReason
from tests.conftest import OpenDatabase
from tests.integration.worker.world import Failed, World

RING = KeyRing.parse(f"k1:{KeyRing.generate()}")


async def _leave(world: World, open_database: OpenDatabase) -> None:
    async with open_database(Role.AUTH) as auth, auth.transaction() as db:
        assert await merchants.disconnect(db, UUID(world.merchant_id)) is not None


async def _come_back(world: World, open_database: OpenDatabase) -> None:
    """The merchant connects again, as auth writes it down."""
    grant = GrantAnswer.model_validate(
        {
            "access_token": "sk_test_again",
            "refresh_token": "rt_again",
            "scope": "read_write",
            "livemode": False,
            "stripe_user_id": world.account,
        }
    )
    async with open_database(Role.AUTH) as auth, auth.transaction() as db:
        connected = await merchants.connect(db, RING, grant, await business_now(db))
    assert (connected.merchant_id, connected.is_new) == (world.merchant_id, False)


async def _totals(world: World) -> dict[str, Any]:
    (row,) = await world.rows(
        "SELECT t.failed_count, t.stopped_count, t.stopped_cents, t.recovered_count, t.recovered_cents, "
        "sum(d.stopped_count)::int AS days_count, sum(d.stopped_cents)::int AS days_cents "
        "FROM merchant_totals AS t JOIN daily_metrics AS d USING (merchant_id, currency) GROUP BY t.merchant_id, "
        "t.currency"
    )
    return dict(row)


async def test_what_was_stopped_is_opened_again_and_collected(world: World, open_database: OpenDatabase) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await _leave(world, open_database)
    assert (await failed.recovery())["end_reason"] == "merchant_gone"
    await world.pass_time(days=3)
    await _come_back(world, open_database)
    row = await failed.recovery()
    assert (row["state"], row["end_reason"], row["closed_at"], row["stop_requested"]) == ("open", None, None, None)
    totals = await _totals(world)
    assert (totals["stopped_count"], totals["stopped_cents"]) == (0, 0)
    assert (totals["days_count"], totals["days_cents"]) == (0, 0)
    (told,) = await failed.story("reopened")
    assert (told["from_state"], told["to_state"], told["rule"]) == ("stopped", "open", "merchant_back")
    assert (await failed.finish())["state"] == "recovered"
    assert len(await failed.charges()) == 1
    totals = await _totals(world)
    assert (totals["failed_count"], totals["stopped_count"], totals["recovered_count"]) == (1, 0, 1)


async def test_it_can_leave_and_come_back_again_and_again(world: World, open_database: OpenDatabase) -> None:
    failed = await world.fail(decline="do_not_honor")
    for _ in range(3):
        await world.work()
        await _leave(world, open_database)
        assert (await _totals(world))["stopped_count"] == 1
        await _come_back(world, open_database)
        assert (await _totals(world))["stopped_count"] == 0
    assert (await failed.recovery())["state"] == "open"
    assert len(await failed.tasks()) == 1


async def test_a_stop_that_waits_for_an_attempt_is_taken_back(world: World, open_database: OpenDatabase) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=2)
    await failed.attempt_due()
    await world.control.add_fault(kind="drop", method="POST", path="*/pay", after_effect=True, times=1)
    await world.work()
    await _leave(world, open_database)
    assert (await failed.recovery())["stop_requested"] == "merchant_gone"
    await _come_back(world, open_database)
    assert (await failed.recovery())["stop_requested"] is None
    assert (await failed.finish())["state"] == "recovered"


async def test_when_the_window_is_over_it_stays_stopped_and_says_so_once(
    world: World, open_database: OpenDatabase
) -> None:
    await world.policy(window_days=5, message_days=[0])
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await _leave(world, open_database)
    await world.pass_time(days=6)
    for _ in range(2):
        await _come_back(world, open_database)
    assert (await failed.recovery())["end_reason"] == "merchant_gone"
    assert [row["rule"] for row in await failed.story()][-1] == "window_over_when_back"
    assert [row["rule"] for row in await failed.story()].count("window_over_when_back") == 1


async def test_what_ended_for_another_reason_stays_ended(world: World, open_database: OpenDatabase) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.control.pay_hosted(failed.invoice)
    await failed.finish()
    ended = dict(await failed.recovery())
    await _leave(world, open_database)
    await _come_back(world, open_database)
    assert dict(await failed.recovery()) == ended


@pytest.mark.parametrize("paid", [False, True])
async def test_the_catch_up_finds_it_too(world: World, open_database: OpenDatabase, paid: bool) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await _leave(world, open_database)
    await world.pass_time(hours=1)
    if paid:
        await world.control.pay_hosted(failed.invoice)
    await world.execute("UPDATE merchants SET status = 'active', disconnected_at = NULL")
    async with open_database(Role.AUTH) as auth, auth.transaction() as db:
        await store.catch_up_from_now(db, world.merchant_id)
    async with world.worker.transaction() as db:
        await tasks.enqueue(db, next_task(world.merchant_id))
    await world.work()
    assert (await failed.recovery())["state"] == ("stopped" if paid else "waiting")
    if not paid:
        assert (await _finished(failed))["state"] == "recovered"


async def _finished(failed: Failed) -> Any:
    return await failed.finish()


async def test_what_an_operator_stops_while_the_merchant_is_away_stays_stopped(
    world: World, open_database: OpenDatabase
) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await _leave(world, open_database)
    async with open_database(Role.LEDGER) as ledger, ledger.transaction() as db:
        await interventions.stop(db, failed.recovery_id, OperatorReason.CUSTOMER_REQUEST)
    before = await _totals(world)
    await world.pass_time(days=3)
    await _come_back(world, open_database)
    for _ in range(4):
        await world.work()
        await world.pass_time(days=2)
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "stopped_by_operator")
    assert await failed.charges() == []
    assert await _totals(world) == before, "one end is in the book, and it is not taken back"
