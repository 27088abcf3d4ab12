"""An address that appears, or is corrected, wakes the message that waits for it: at once, and one."""

from datetime import timedelta

import pytest

from services.worker.handlers import discover
from services.worker.outside.lease import Lease
from shared import recoveries, recovery_tasks
from shared.queue import tasks
from shared.recovery_model import Entry, EntryKind, RecoveryState
from tests.integration.worker.messages.town import Town

DECLINES = ["lost_card", "authentication_required", "insufficient_funds", "expired_card", "do_not_honor"]


@pytest.mark.parametrize("decline", DECLINES)
async def test_who_gets_an_address_is_written_to_at_once(town: Town, decline: str) -> None:
    failed = await town.fail(decline=decline)
    address = town.take_address(failed)
    await town.live(hours=20)
    assert await town.emails() == []
    await town.address(failed, address)
    await town.round()
    (email,) = await town.emails()
    assert email["to"] == [address]
    assert [row["rule"] for row in await failed.story("changed")][-1] == "address_changed"


@pytest.mark.parametrize("decline", DECLINES)
async def test_however_many_messages_were_missed_one_is_sent_and_the_rest_keep_their_days(
    town: Town, decline: str
) -> None:
    failed = await town.fail(decline=decline)
    address = town.take_address(failed)
    await town.live(days=8)
    await town.address(failed, address)
    await town.live(hours=12)
    assert len(await town.emails()) == 1
    await town.live(days=20)
    opened = (await failed.recovery())["opened_at"]
    days = [round((row["at"] - opened) / timedelta(days=1)) for row in await failed.story("messaged")]
    assert days[0] == 8
    assert set(days[1:]) <= {14, 20}


async def test_an_address_that_was_refused_is_corrected(town: Town) -> None:
    failed = await town.fail(decline="lost_card")
    town.take_address(failed)
    await town.address(failed, "no address at all")
    await town.live(hours=2)
    assert [row["rule"] for row in await failed.story("not_messaged")][-1] == "address_refused"
    await town.address(failed, "right@customer.example")
    await town.round()
    assert [each["to"] for each in await town.emails()] == [["right@customer.example"]]


async def test_a_corrected_address_after_a_bounce_gets_the_message_that_was_missed(town: Town) -> None:
    failed = await town.fail(decline="lost_card")
    await town.round()
    await town.world.execute(
        "INSERT INTO silenced_customers (merchant_id, customer_id, reason) VALUES ($1, $2, 'bounced')",
        town.world.merchant_id,
        failed.customer,
    )
    await town.live(days=4)
    assert len(await town.emails()) == 1
    await town.address(failed, "right@customer.example")
    await town.round()
    assert [each["to"] for each in await town.emails()][1:] == [["right@customer.example"]]


async def test_a_changed_address_alone_is_no_reason_for_an_email(town: Town) -> None:
    failed = await town.fail(decline="lost_card")
    await town.live(hours=30)
    before = len(await town.emails())
    await town.address(failed, "another@customer.example")
    await town.live(hours=12)
    assert len(await town.emails()) == before
    await town.live(days=3)
    assert (await town.emails())[-1]["to"] == ["another@customer.example"]


async def test_an_address_on_the_invoice_wakes_it_too(town: Town) -> None:
    failed = await town.fail(decline="lost_card")
    town.take_address(failed)
    await town.live(hours=20)
    simulation = town.world.simulation
    account = simulation.world.accounts[town.world.account]
    invoice = account.objects["invoice"][failed.invoice]
    invoice["customer_email"] = "billing@customer.example"
    simulation.events.emit(account, "invoice.updated", invoice, {"customer_email": None})
    await town.heard()
    await town.round()
    assert [each["to"] for each in await town.emails()] == [["billing@customer.example"]]


async def test_an_address_that_comes_while_the_old_one_is_read_is_not_missed(town: Town) -> None:
    """The message was claimed and read no address; its commit sees that one has come since."""
    failed = await town.fail(decline="lost_card")
    address, world = town.take_address(failed), town.world
    async with world.worker.transaction() as db:
        await recoveries.change(
            db, failed.recovery_id, RecoveryState.NEEDS_NEW_METHOD, Entry(EntryKind.CHANGED, "test", "A test.")
        )
        await recovery_tasks.message_now(db, world.merchant_id, failed.recovery_id, failed.invoice)
    handler = discover()["notify_action_required"]
    async with world.worker.transaction() as db:
        claimed = {each.task_type: each for each in await tasks.claim(db, "slow", 10, timedelta(seconds=30))}
        task = next(iter(claimed.values()))
        if task.task_type != "notify_action_required":  # of one recovery one task runs at a time
            assert await tasks.complete(db, task)
            (task,) = await tasks.claim(db, "slow", 10, timedelta(seconds=30))
        job = handler.understand(task)
        plan = await handler.load(db, job)
    outcome = await handler.perform(world.outside.remote(Lease(timedelta(seconds=30))), plan)
    await town.address(failed, address)
    async with world.worker.transaction() as db:
        assert await tasks.complete(db, task)
        await handler.commit(db, job, outcome)
    await town.round()
    assert [each["to"] for each in await town.emails()] == [[address]]
