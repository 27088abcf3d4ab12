"""A decline that has made no charge is written down without one: the charge before it has its row already."""

from typing import Any

import pytest

from simulator.errors import ApiError
from tests.integration.worker.world import World


@pytest.mark.parametrize("decline", ["do_not_honor", "fraudulent", "insufficient_funds"])
async def test_a_decline_before_any_charge_is_recorded_without_one(world: World, decline: str) -> None:
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    await world.control.set_script(failed.payment_method, decline=decline, without_charge=True)
    await world.work()
    (ours,) = await failed.ours()
    assert (ours["result"], ours["charge_id"], ours["decline_code"]) == ("declined", None, decline)
    (theirs,) = await failed.theirs()
    assert theirs["charge_id"] is not None
    assert [row["status"] for row in await failed.tasks("dead")] == []


async def test_declines_without_charges_one_after_the_other_end_the_recovery_as_any_others(world: World) -> None:
    await world.policy(max_attempts=3, message_days=[])
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    await world.control.set_script(failed.payment_method, decline="do_not_honor", without_charge=True)
    row = await failed.finish()
    assert (row["state"], row["end_reason"]) == ("exhausted", "attempts_used_up")
    assert [each["result"] for each in await failed.ours()] == ["declined"] * 3
    assert len(await failed.theirs()) == 1, "none of them is taken for Stripe's own"


async def test_a_charge_that_has_a_row_is_never_given_to_another_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    (first,) = await failed.theirs()
    collecting = world.simulation.collecting
    answer = collecting.pay

    def pay(account: Any, invoice: Any, method_id: Any) -> None:
        """The error names a charge that was made before: what would stop every commit."""
        try:
            answer(account, invoice, method_id)
        except ApiError as error:
            error.body["error"]["charge"] = first["charge_id"]
            raise

    monkeypatch.setattr(collecting, "pay", pay)
    await world.work()
    (ours,) = await failed.ours()
    assert (ours["result"], ours["charge_id"]) == ("declined", None)


@pytest.mark.parametrize("decline", ["lost_card", "fraudulent"])
async def test_a_renewal_that_was_declined_before_any_charge_is_known_by_its_payment_intent(
    world: World, decline: str
) -> None:
    failed = await world.fail(decline=decline, without_charge=True)
    await world.work()
    (theirs,) = await failed.theirs()
    assert (theirs["result"], theirs["charge_id"], theirs["decline_code"]) == ("declined", None, decline)
    assert theirs["payment_method_id"] == failed.payment_method
    for _ in range(5):
        await world.pass_time(days=1)
        await world.work()
    assert await failed.ours() == [], "a card that was declined for good is not charged again"
    assert len(await failed.theirs()) == 1, "each reading tells of the same one"


async def test_what_a_deleted_customer_left_ends_although_no_event_said_so(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    await world.control.delete_customer(failed.customer)
    await failed.until_due()
    await world.work()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "customer_deleted")
    assert await failed.tasks("dead") == []
    assert await failed.charges() == []


async def test_a_card_that_a_customer_tried_in_vain_before_any_charge_is_not_tried_again(world: World) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    await world.control.pay_hosted(failed.invoice, decline="stolen_card", without_charge=True)
    for _ in range(3):
        await world.pass_time(days=1)
        await world.execute("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE status = 'pending'")
        await world.work()
    assert await failed.ours() == []
    assert "stolen_card" in [each["decline_code"] for each in await failed.theirs()]
