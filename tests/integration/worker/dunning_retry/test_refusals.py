"""What Stripe refuses to try has a cause: some end, some wait, some ask, and some are the merchant's matter."""

import pytest

from services.worker.recovery.refusals import ROWS, Remedy, known_remedy
from tests.integration.worker.world import Failed, World

ASKS = ["missing", "resource_missing", "billing_invalid_mandate", "payment_method_currency_mismatch"]
MERCHANTS = ["testmode_charges_only", "capability_not_active", "payment_method_unactivated", "amount_too_large"]
WAITS = ["payment_intent_unexpected_state", "rate_limit", "invoice_not_editable"]


async def _refused(world: World, code: str | None, **fields: object) -> Failed:
    """A recovery whose first attempt Stripe has refused."""
    await world.policy(driver="citadel", end_action="cancel")
    failed = await world.fail(decline="insufficient_funds", clears_after=1)
    await failed.attempt_due()
    known = {} if code in {"amount_too_large", *MERCHANTS, *WAITS, *ASKS} else {"message": "No."}
    await world.control.refuse_pay(code, **known, **fields)
    await world.work()
    return failed


async def _alive(failed: Failed) -> bool:
    sub = await failed.world.control.object(failed.subscription)
    return bool(sub["status"] != "canceled")


async def test_below_stripes_minimum_it_ends_without_an_end_action(world: World) -> None:
    failed = await _refused(world, "amount_too_small")
    await failed.finish()
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "below_stripes_minimum")
    assert len(await failed.ours()) == 1
    assert await _alive(failed)


@pytest.mark.parametrize("code", ASKS)
async def test_without_a_payment_method_of_use_the_customer_is_asked_for_another(world: World, code: str) -> None:
    failed = await _refused(world, code)
    (ours,) = await failed.ours()
    assert (ours["result"], ours["error_code"]) == ("failed", code)
    assert (await failed.recovery())["state"] == "needs_new_method"
    await world.control.clear_barriers()
    await world.control.add_card(failed.customer)
    await world.execute("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE task_type = 'dunning_retry'")
    await world.work()
    assert (await failed.recovery())["state"] == "recovered"


@pytest.mark.parametrize("code", [code for code in WAITS if code != "rate_limit"])
async def test_what_passes_by_itself_is_waited_for(world: World, code: str) -> None:
    failed = await _refused(world, code)
    (ours,) = await failed.ours()
    assert (ours["result"], ours["error_code"]) == ("failed", code)
    assert (await failed.recovery())["state"] == "waiting"
    await world.control.clear_barriers()
    assert (await failed.finish())["state"] == "recovered"


@pytest.mark.parametrize("code", [*MERCHANTS, "parameter_unknown", "something_new", None])
async def test_what_the_customer_cannot_help_is_not_told_to_them_and_has_no_end_action(
    world: World, code: str | None
) -> None:
    failed = await _refused(world, code)
    before = len(await world.control.outbox())
    for _ in range(60):
        await world.pass_time(hours=12)
        await world.work()
    row = await failed.recovery()
    assert row["state"] == "exhausted"
    assert len(await world.control.outbox()) == before
    assert 2 <= len(await failed.ours()) <= 8
    assert await _alive(failed)
    assert [each["rule"] for each in await failed.story("end_action")] == ["not_the_customers_fault"]


async def test_of_a_restricted_account_the_customer_hears_nothing_and_it_goes_on_by_itself(world: World) -> None:
    await world.policy(driver="citadel", end_action="cancel")
    failed = await world.fail(decline="insufficient_funds", clears_after=1)
    await world.control.restrict(world.account)
    await failed.attempt_due()
    await world.work()
    (ours,) = await failed.ours()
    assert (ours["result"], ours["error_code"]) == ("failed", "account_restricted")
    assert await world.control.outbox() == []
    await world.control.restrict(world.account, charges=True)
    assert (await failed.finish())["state"] == "recovered"


async def test_a_payment_blocked_for_its_risk_is_not_the_customer_s_matter(world: World) -> None:
    await world.policy(driver="citadel", end_action="cancel")
    failed = await world.fail(decline="highest_risk_level")
    for _ in range(50):
        await world.work()
        await world.pass_time(hours=12)
    assert (await failed.recovery())["state"] == "exhausted"
    assert await failed.ours() == []
    assert await world.control.outbox() == []
    assert await _alive(failed)


async def test_a_decline_told_with_a_400_is_a_decline(world: World) -> None:
    failed = await _refused(world, "bank_account_unverified")
    (ours,) = await failed.ours()
    assert (ours["result"], ours["charge_id"]) == ("declined", None)
    assert (await failed.recovery())["state"] == "needs_new_method"


def test_each_code_is_in_the_table_once_and_an_unknown_one_is_nobodys() -> None:
    codes = [row.code for row in ROWS]
    assert len(codes) == len(set(codes))
    assert known_remedy("amount_too_small") is Remedy.END
    assert known_remedy("something_new") is None
    assert known_remedy(None) is None
