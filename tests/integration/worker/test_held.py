"""What Stripe refuses for the sake of a key, a permission, a mode or an account ends nothing.

The task is held: it uses up no try, says why, and goes on by itself when the key is right again.
"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.worker.errors import Hold
from tests.integration.worker.world import Failed, World

INVOICE, CHARGES = ("GET", "/v1/invoices/*"), ("GET", "/v1/charges")
PAY = ("POST", "/v1/invoices/*/pay")
KINDS: dict[str, tuple[dict[str, Any], Hold]] = {
    "a restricted key": ({"kind": "permission"}, Hold.NO_PERMISSION),
    "a restricted key, an older 403": ({"kind": "permission", "code": ""}, Hold.NO_PERMISSION),
    "no access to the account": ({"kind": "account_invalid"}, Hold.NO_ACCESS),
    "an expired key": ({"kind": "expired_key"}, Hold.KEY_REFUSED),
    "a wrong key": ({"kind": "invalid_key"}, Hold.KEY_REFUSED),
    "a key of the other mode": ({"kind": "wrong_mode"}, Hold.WRONG_MODE),
    "something else is missing": ({"kind": "missing", "object": "customer"}, Hold.MISSING),
    "an expired platform key": (
        {"kind": "refused", "status": 401, "code": "platform_api_key_expired", "message": "Expired."},
        Hold.KEY_REFUSED,
    ),
    "a publishable key": (
        {"kind": "refused", "status": 403, "code": "secret_key_required", "message": "Not with this key."},
        Hold.KEY_REFUSED,
    ),
}


async def _held(failed: Failed) -> tuple[str, str]:
    """The status of its task and why it is held."""
    rows = await failed.world.rows(
        "SELECT status, held_for, attempts, last_error FROM scheduled_tasks "
        "WHERE recovery_id = $1 AND task_type = 'dunning_retry' ORDER BY id DESC LIMIT 1",
        failed.recovery_id,
    )
    assert rows[0]["attempts"] == 0
    assert rows[0]["last_error"].startswith("stripe: 4")
    return rows[0]["status"], rows[0]["held_for"]


async def _barred(world: World, asked: tuple[str, str], kind: dict[str, Any]) -> None:
    await world.control.add_barrier(method=asked[0], path=asked[1], **kind)


async def _paid_by_us(failed: Failed) -> None:
    row = await failed.finish()
    assert (row["state"], row["end_reason"]) == ("recovered", "paid_by_retry")
    assert len(await failed.charges()) == 1
    assert (await failed.booked())["recovery_recovered"] == 1


@pytest.mark.parametrize("asked", [INVOICE, CHARGES, PAY], ids=["the invoice", "its charges", "the payment"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_recovery_is_held_for_days_and_goes_on_when_the_key_is_right(
    world: World, kind: str, asked: tuple[str, str]
) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    if asked is PAY:
        await failed.attempt_due()
    barrier, why = KINDS[kind]
    await _barred(world, asked, barrier)
    for _ in range(3):
        await world.work()
        assert await _held(failed) == ("pending", why)
        await world.pass_time(hours=7)
    # After a day the attempt's key is no longer kept: it is settled by reading, and another one begins.
    for _ in range(20):
        await world.work()
        await world.pass_time(hours=1)
    assert await _held(failed) == ("pending", why)
    assert (await failed.recovery())["closed_at"] is None
    assert await failed.charges() == []
    await world.control.clear_barriers()
    await _paid_by_us(failed)


async def test_the_delay_grows_to_an_hour_and_is_short_at_first(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await _barred(world, INVOICE, {"kind": "permission"})
    delays = []
    for _ in range(20):
        await world.work()
        (task,) = await failed.tasks()
        now = await world.value("SELECT citadel_now()")
        delays.append(task["run_at"] - now)
        await world.to(task["run_at"])
    assert delays[0] <= timedelta(seconds=73)
    assert timedelta(minutes=47) <= delays[-1] <= timedelta(minutes=73)


async def test_it_is_logged_once_per_merchant_and_reason(world: World) -> None:
    for _ in range(3):
        await world.fail(decline="do_not_honor")
    await _barred(world, INVOICE, {"kind": "permission"})
    with capture_logs() as logs:
        await world.work()
        await world.pass_time(hours=1)
        await world.work()
    told = [each for each in logs if each["event"] == "merchant_held"]
    assert [(each["log_level"], each["merchant_id"], each["reason"]) for each in told] == [
        ("error", world.merchant_id, "no_permission")
    ]


async def test_money_that_was_taken_is_recorded_although_charges_cannot_be_read(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    with world.stripe.door.holding("POST", "*/pay") as payment:
        run = asyncio.create_task(world.work())
        await payment.has_arrived()
        await _barred(world, CHARGES, {"kind": "account_invalid"})
    await run
    (ours,) = await failed.ours()
    assert ours["result"] == "succeeded"
    assert (await failed.recovery())["state"] == "recovered"


async def test_money_taken_right_before_the_merchant_left_is_not_called_not_made(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await world.control.add_fault(kind="drop", method="POST", path="*/pay", after_effect=True, times=1)
    await world.work()
    await world.control.add_barrier("account_invalid", account=world.account)
    await world.execute("UPDATE merchants SET status = 'deauthorized'")
    await world.pass_time(minutes=5)
    await world.work()
    (ours,) = await failed.ours()
    assert ours["result"] == "unknown"
    assert len(await failed.charges()) == 1


async def test_a_deleted_customer_has_no_other_payment_methods_and_its_invoice_is_still_collected(world: World) -> None:
    await world.policy(backup_methods=True)
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.control.add_barrier("missing", method="GET", path="/v1/customers/*/payment_methods")
    await _paid_by_us(failed)


@pytest.mark.parametrize("path", ["/v1/account", "/v1/billing_portal/sessions"])
@pytest.mark.parametrize("kind", ["permission", "account_invalid", "missing"])
async def test_without_the_brand_or_the_portal_the_customer_is_still_written_to(
    world: World, kind: str, path: str
) -> None:
    failed = await world.fail(decline="lost_card")
    await world.control.add_barrier(kind, path=path)
    await world.work()
    (sent,) = await world.control.outbox()
    assert "https://invoice.stripe.com/" in sent["message"]["text"] or "/i/" in sent["message"]["text"]
    assert len(await failed.story("messaged")) == 1


async def test_a_message_waits_while_the_invoice_cannot_be_read(world: World) -> None:
    failed = await world.fail(decline="insufficient_funds")
    await world.work()
    await world.pass_time(days=3)
    before = len(await world.control.outbox())
    await _barred(world, INVOICE, {"kind": "permission"})
    for _ in range(3):
        await world.work()
        await world.pass_time(hours=8)
    assert len(await world.control.outbox()) == before
    (task,) = await failed.tasks(task_type="notify_action_required")
    assert (task["held_for"], task["attempts"]) == ("no_permission", 0)
    await world.control.clear_barriers()
    await world.work()
    assert len(await world.control.outbox()) == before + 1


async def test_an_end_action_is_held_and_carried_out_when_the_key_is_right(world: World) -> None:
    await world.policy(driver="stripe", window_days=2, message_days=[0], end_action="cancel")
    failed = await world.fail(decline="do_not_honor")
    await world.control.add_barrier("permission", method="DELETE", path="/v1/subscriptions/*")
    await failed.finish()
    for _ in range(5):
        await world.work()
        await world.pass_time(days=1)
    (task,) = await failed.tasks(task_type="end_dunning")
    assert (task["held_for"], task["attempts"]) == ("no_permission", 0)
    await world.control.clear_barriers()
    await world.work()
    assert [row["rule"] for row in await failed.story("end_action")] == ["end_action_done"]
