"""Stripe's own attempt that shows in an update of the invoice first: the quiet period around it is kept."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.worker.outside import stripe_calls
from shared.database import Role
from shared.events.incoming import read_event
from shared.events.taking import Accepted, take
from tests.conftest import OpenDatabase
from tests.integration.worker.world import Failed, World

QUIET = timedelta(hours=24)


async def _stripe_plans(failed: Failed, at: datetime) -> dict[str, Any]:
    """Stripe decides to try by itself then, and says so in an update of the invoice; the event."""
    simulation, account = failed.world.simulation, failed.world.account
    invoice = simulation.world.accounts[account].objects["invoice"][failed.invoice]
    before = {"next_payment_attempt": invoice["next_payment_attempt"]}
    invoice["next_payment_attempt"] = int(at.timestamp())
    event = simulation.events.emit(simulation.world.accounts[account], "invoice.updated", invoice, before)
    listed = await failed.world.outside.stripe.for_merchant(account).v1.events.retrieve_async(event.id)
    found: dict[str, Any] = listed.to_dict()
    return found


async def _told(failed: Failed, open_database: OpenDatabase, event: dict[str, Any]) -> Accepted:
    """The ingress takes the event."""
    async with open_database(Role.INGRESS) as ingress, ingress.transaction() as db:
        return await take(db, read_event(event, listed_for=failed.world.account))


async def _plan(failed: Failed) -> tuple[datetime | None, list[datetime]]:
    """The planned attempt, and when the pending tasks are due."""
    return (await failed.recovery())["next_attempt_at"], [task["run_at"] for task in await failed.tasks()]


async def test_a_planned_attempt_moves_past_the_quiet_period_around_stripes(
    world: World, open_database: OpenDatabase
) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    planned, _ = await _plan(failed)
    assert planned is not None
    stripes = (planned + timedelta(hours=2)).replace(microsecond=0)
    accepted = await _told(failed, open_database, await _stripe_plans(failed, stripes))
    assert not accepted.duplicate
    await world.work()
    moved, due = await _plan(failed)
    assert len(due) == 1, "no second task"
    assert due[0] >= stripes + QUIET
    assert moved is None or moved >= stripes + QUIET
    assert [row["rule"] for row in await failed.story("changed", "decided")][-2:] == [
        "invoice_changed",
        (await failed.story("decided"))[-1]["rule"],
    ]
    await world.to(planned)
    await world.work()
    assert await failed.ours() == [], "nothing was tried within it"


async def test_the_same_news_twice_is_told_and_decided_once(world: World, open_database: OpenDatabase) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    planned, _ = await _plan(failed)
    assert planned is not None
    event = await _stripe_plans(failed, planned)
    await _told(failed, open_database, event)
    await world.work()
    story, plan = len(await failed.story()), await _plan(failed)
    await _told(failed, open_database, {**event, "id": "evt_twin"})
    await world.work()
    assert (len(await failed.story()), await _plan(failed)) == (story, plan)


async def test_news_that_come_while_the_invoice_is_read_are_not_forgotten(
    world: World, open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = await world.fail(decline="do_not_honor")
    read = stripe_calls.read_invoice
    stripes: list[datetime] = []

    async def then_stripe_plans(*given: Any) -> Any:
        reading = await read(*given)
        if not stripes:
            stripes.append(datetime.fromtimestamp(world.simulation.world.clock.now + 180_000).astimezone())
            accepted = await _told(failed, open_database, await _stripe_plans(failed, stripes[0]))
            assert not accepted.duplicate
        return reading

    await world.work()
    monkeypatch.setattr(stripe_calls, "read_invoice", then_stripe_plans)
    await world.execute("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE task_type = 'dunning_retry'")
    await world.work()
    _, due = await _plan(failed)
    assert len(due) == 1
    assert due[0] >= stripes[0] + QUIET


async def test_our_own_attempts_do_not_wake_themselves(world: World, open_database: OpenDatabase) -> None:
    """Each of them updates its invoice."""
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    await world.work()
    assert len(await failed.ours()) == 1
    story, plan = len(await failed.story()), await _plan(failed)
    client = world.outside.stripe.for_merchant(world.account)
    updates = (await client.v1.events.list_async({"type": "invoice.updated", "limit": 100})).data
    assert updates
    for update in updates:
        await _told(failed, open_database, update.to_dict())
    await world.work()
    assert (len(await failed.story()), await _plan(failed)) == (story, plan)
