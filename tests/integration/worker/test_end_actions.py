"""An end action takes something away from a customer: it is carried out only where it is sure."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.worker.dossier import window
from shared import recoveries
from shared.database import Role
from shared.queue import control
from shared.queue.control import Which
from shared.recovery_model import Entry, EntryKind
from tests.conftest import OpenDatabase
from tests.integration.worker.world import Failed, World

ACTIONS = ["cancel", "pause", "mark_uncollectible"]


async def _at_stripe(failed: Failed) -> dict[str, Any]:
    """Whether any end action has taken effect."""
    sub = await failed.world.control.object(failed.subscription)
    invoice = await failed.world.control.object(failed.invoice)
    return {
        "canceled": sub["status"] == "canceled",
        "paused": sub["pause_collection"] is not None,
        "uncollectible": invoice["status"] == "uncollectible",
    }


async def _untouched(failed: Failed) -> bool:
    return not any((await _at_stripe(failed)).values())


async def _told(failed: Failed) -> list[str]:
    return [row["rule"] for row in await failed.story("end_action")]


async def _until_exhausted(failed: Failed) -> None:
    """Day by day, as it is while workers run."""
    for _ in range(80):
        await failed.world.work()
        if (await failed.recovery())["closed_at"] is not None:
            return
        await failed.world.pass_time(hours=12)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_newer_invoice_that_is_paid_keeps_the_subscription(world: World, action: str) -> None:
    await world.policy(driver="stripe", end_action=action, window_days=5, message_days=[0])
    failed = await world.fail(decline="do_not_honor")
    await world.control.set_script(failed.payment_method)
    newer = await world.control.add_invoice(failed.subscription, "subscription_cycle")
    assert newer["status"] == "paid"
    await _until_exhausted(failed)
    await world.work()
    assert await _untouched(failed)
    assert await _told(failed) == ["newer_invoice_paid"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_while_a_newer_invoice_is_open_the_end_action_waits_but_not_for_ever(world: World, action: str) -> None:
    await world.policy(driver="stripe", end_action=action, window_days=5, message_days=[0])
    failed = await world.fail(decline="do_not_honor")
    newer = await world.control.add_invoice(failed.subscription, "subscription_cycle")
    assert newer["status"] == "open"
    await _until_exhausted(failed)
    await world.work()
    assert await _untouched(failed)
    assert await _told(failed) == []
    assert [row["detail"]["why"] for row in await failed.story("changed")] == ["newer_invoice_open"]
    await world.pass_time(days=10)
    await world.work()
    assert await _untouched(failed)
    await world.pass_time(days=12)
    await world.work()
    assert await _told(failed) == ["end_action_done"]


@pytest.mark.parametrize("action", ["cancel", "pause"])
@pytest.mark.parametrize("newer", ["draft", "void", "open"])
async def test_newer_invoices_speak_for_the_announcement_as_for_the_end_action(
    world: World, action: str, newer: str
) -> None:
    """What was announced follows, and what follows was announced."""
    await world.control.change_account(world.account, after_retries="unpaid")
    await world.policy(driver="stripe", end_action=action, window_days=5, message_days=[0])
    failed = await world.fail(decline="do_not_honor")
    if newer == "draft":  # as Stripe leaves the next ones of an unpaid subscription
        made = await world.control.renew(failed.subscription)
        assert made is not None
    else:
        made = await world.control.add_invoice(failed.subscription, "subscription_cycle")
        world.simulation.world.accounts[world.account].objects["invoice"][made["id"]]["status"] = newer
    assert (await world.control.object(made["id"]))["status"] == newer
    await _until_exhausted(failed)
    await world.work()
    email, *_ = [each["message"] for each in await world.control.outbox()]
    word = {"cancel": "canceled", "pause": "paused"}[action]
    said = f"If your open payments are not made, your subscription will be {word}." if newer == "open" else f"{word} on"
    assert said in email["text"]
    await world.pass_time(days=23 if newer == "open" else 1)
    await world.work()
    assert await _told(failed) == ["end_action_done"]


@pytest.mark.parametrize("rule", ["account_restricted", "under_way", "not_final"])
async def test_messages_that_did_not_go_out_for_the_merchant_s_sake_come_before_the_end_action(
    world: World, rule: str
) -> None:
    """Whatever keeps a message back that is not the customer's doing, the window goes on for it."""
    await world.policy(driver="stripe", end_action="cancel", window_days=5, message_days=[0, 3])
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.execute("DELETE FROM scheduled_tasks WHERE task_type = 'notify_action_required'")
    async with world.database.transaction() as db:
        await recoveries.record(db, failed.recovery_id, Entry(EntryKind.NOT_MESSAGED, rule, "It did not go out."))
    await world.pass_time(days=5, hours=1)
    await world.work()
    assert (await failed.recovery())["closed_at"] is None
    assert window.LENGTHENED in [row["rule"] for row in await failed.story("changed")]
    await _until_exhausted(failed)
    await world.work()
    assert any("will be canceled" in each["message"]["text"] for each in await world.control.outbox())
    assert await _told(failed) == ["end_action_done"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_what_no_message_announced_is_not_taken_from_the_customer(world: World, action: str) -> None:
    """The newer invoice was paid when the last message went out, and is refunded and voided since."""
    await world.policy(driver="stripe", end_action=action, window_days=5, message_days=[0])
    failed = await world.fail(decline="do_not_honor")
    await world.control.set_script(failed.payment_method)
    newer = await world.control.add_invoice(failed.subscription, "subscription_cycle")
    await world.control.set_script(failed.payment_method, decline="do_not_honor")
    await world.work()
    (email,) = [each["message"] for each in await world.control.outbox()]
    assert "will be" not in email["text"]
    world.simulation.world.accounts[world.account].objects["invoice"][newer["id"]]["status"] = "void"
    await _until_exhausted(failed)
    await world.work()
    announced_or_not_needed = action == "mark_uncollectible"
    assert await _untouched(failed) is not announced_or_not_needed
    assert await _told(failed) == ["end_action_done" if announced_or_not_needed else "not_announced"]


async def test_who_unsubscribed_before_the_last_message_needs_no_announcement(world: World) -> None:
    await world.policy(driver="stripe", end_action="cancel", window_days=5, message_days=[0, 3])
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.execute(
        "INSERT INTO silenced_customers (merchant_id, customer_id, reason) VALUES ($1, $2, 'opted_out')",
        world.merchant_id,
        failed.customer,
    )
    await _until_exhausted(failed)
    await world.work()
    assert await _told(failed) == ["end_action_done"]


async def test_messages_from_before_announcements_were_recorded_count_as_announcements(world: World) -> None:
    await world.policy(driver="stripe", end_action="cancel", window_days=5, message_days=[0, 3])
    failed = await world.fail(decline="do_not_honor")
    await _until_exhausted(failed)
    await world.execute("UPDATE recovery_timeline SET detail = detail - 'announced' WHERE kind = 'messaged'")
    await world.work()
    assert await _told(failed) == ["end_action_done"]


async def test_a_newer_invoice_that_is_paid_meanwhile_ends_the_waiting(world: World) -> None:
    await world.policy(driver="stripe", end_action="cancel", window_days=5, message_days=[0])
    failed = await world.fail(decline="do_not_honor")
    newer = await world.control.add_invoice(failed.subscription, "subscription_cycle")
    await _until_exhausted(failed)
    await world.work()
    await world.control.pay_hosted(newer["id"])
    await world.pass_time(hours=25)
    await world.work()
    assert await _untouched(failed)
    assert await _told(failed) == ["newer_invoice_paid"]


async def test_a_payment_under_way_is_waited_for(world: World) -> None:
    await world.policy(driver="stripe", end_action="cancel", window_days=2, message_days=[0])
    failed = await world.fail(decline="do_not_honor")
    await _until_exhausted_but_the_action(failed)
    await world.control.pay_hosted(failed.invoice, debit={"type": "us_bank_account", "takes_days": 3})
    await world.work()
    assert await _untouched(failed)
    assert await _told(failed) == []
    await world.pass_time(days=5)
    await world.work()
    assert await _untouched(failed)
    assert await _told(failed) == ["invoice_settled"]


async def _until_exhausted_but_the_action(failed: Failed) -> None:
    await failed.world.execute("INSERT INTO queue_pauses (task_type) VALUES ('end_dunning')")
    await _until_exhausted(failed)
    await failed.world.execute("DELETE FROM queue_pauses")
    await failed.world.execute("UPDATE scheduled_tasks SET parked = false WHERE parked")


# --- Nobody was there -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("decline", ["do_not_honor", "lost_card"])
@pytest.mark.parametrize("looked", [False, True])
async def test_a_worker_that_was_away_for_weeks_ends_nothing_by_waking_up(
    world: World, action: str, decline: str, looked: bool
) -> None:
    await world.policy(driver="citadel", end_action=action)
    failed = await world.fail(decline=decline)
    if looked:
        await world.work()
    written = len(await world.control.outbox())
    await world.pass_time(days=22)  # the subscription renews after 30
    await world.work()
    row = await failed.recovery()
    assert row["closed_at"] is None
    assert await _untouched(failed)
    assert len(await world.control.outbox()) == written + 1
    assert (len(await failed.ours()) > 0) == (decline == "do_not_honor")
    (told,) = [each for each in await failed.story("changed") if each["rule"] == window.LENGTHENED]
    assert told["next_at"] == row["window_until"]
    await _until_exhausted(failed)
    await world.work()
    assert await _told(failed) == ["end_action_done"]


async def test_a_customer_who_pays_in_the_time_that_was_added_keeps_the_subscription(world: World) -> None:
    await world.policy(driver="citadel", end_action="cancel")
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await world.pass_time(days=30)
    await world.work()
    assert (await failed.recovery())["state"] == "recovered"
    assert await _untouched(failed)


async def test_a_merchant_s_pause_ends_nothing_either(world: World, open_database: OpenDatabase) -> None:
    await world.policy(driver="citadel", end_action="cancel")
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    pause = Which(merchant_id=world.merchant_id)
    async with open_database(Role.LEDGER) as ledger, ledger.transaction() as db:
        await control.pause(db, pause, "the merchant asks for it")
    for _ in range(25):
        await world.pass_time(days=1)
        await world.work()
    async with open_database(Role.LEDGER) as ledger, ledger.transaction() as db:
        await control.resume(db, pause)
        await control.unpark(db)
    await world.work()
    assert (await failed.recovery())["closed_at"] is None
    assert await _untouched(failed)


async def test_a_key_that_was_wrong_for_weeks_ends_nothing_either(world: World) -> None:
    await world.policy(driver="citadel", end_action="cancel")
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.control.add_barrier("account_invalid", account=world.account)
    for _ in range(60):
        await world.pass_time(hours=12)
        await world.work()
    await world.control.clear_barriers()
    for _ in range(3):
        await world.pass_time(hours=2)
        await world.work()
    assert (await failed.recovery())["closed_at"] is None
    assert await _untouched(failed)
    assert [each["result"] for each in await failed.ours()] == ["abandoned", "declined"]


async def test_however_often_nobody_is_there_a_recovery_ends_and_then_without_its_end_action(world: World) -> None:
    await world.policy(driver="citadel", end_action="cancel")
    failed = await world.fail(decline="do_not_honor")
    for _ in range(8):
        await world.work()
        await world.pass_time(days=25)
    await world.work()
    assert (await failed.recovery())["state"] == "exhausted"
    assert await _untouched(failed)
    assert await _told(failed) == ["not_all_was_done"]


async def test_while_workers_run_the_window_is_the_policy_s(world: World) -> None:
    await world.policy(end_action="cancel", window_days=9, message_days=[0, 3, 8])
    failed = await world.fail(decline="lost_card")
    await _until_exhausted(failed)
    row = await failed.recovery()
    assert (row["closed_at"] - row["opened_at"]).days == 9
    assert row["window_until"] is None


# --- Messages that wait for their hour --------------------------------------------------------------------------------


def _in_hours(now: datetime, ahead: int) -> dict[str, Any]:
    """Customers are written to in one hour of the day only, so many hours from now."""
    hour = (now.hour + ahead) % 24
    return {"kind": "window", "from_hour": hour, "until_hour": (hour + 1) % 24, "zone": "UTC"}


@pytest.mark.parametrize(("waits", "told"), [(False, "end_action_done"), (True, "not_all_was_done")])
async def test_nothing_ends_before_the_customer_was_written_to(world: World, waits: bool, told: str) -> None:
    (row,) = await world.rows("SELECT citadel_now() AS now")
    quick = {"kind": "delays", "hours": [5]}
    await world.policy(
        driver="citadel",
        max_attempts=2,
        end_action="cancel",
        message_days=[0, 3, 7],
        minimum_gap_hours=5,
        schedules={"insufficient_funds": quick, "unknown": quick},
        message_hours=_in_hours(row["now"], 14) if waits else {"kind": "any"},
    )
    failed = await world.fail(decline="insufficient_funds")
    ended = await failed.finish()
    assert ended["closed_at"] - ended["opened_at"] < timedelta(hours=14)
    await world.pass_time(hours=1)
    await world.work()
    assert await _told(failed) == [told]
    assert await _untouched(failed) is waits
    assert len(await failed.story("messaged", "printed")) == (0 if waits else 1)


@pytest.mark.parametrize("hours", ["window", "likeliest"])
async def test_the_end_follows_when_the_last_message_has_waited_for_its_hour(world: World, hours: str) -> None:
    (row,) = await world.rows("SELECT citadel_now() AS now")
    rule = _in_hours(row["now"], 14) if hours == "window" else {"kind": hours}
    await world.policy(driver="stripe", end_action="cancel", window_days=5, message_days=[0, 5], message_hours=rule)
    failed = await world.fail(decline="do_not_honor")
    for _ in range(24 * 7):
        await world.work()
        await world.pass_time(hours=1)
    assert await _told(failed) == ["end_action_done"]
    sent = await failed.story("messaged", "printed")
    assert [row["detail"]["announced"] for row in sent] == [False, True]
