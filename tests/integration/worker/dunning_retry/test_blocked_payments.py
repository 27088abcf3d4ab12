"""Payments that a rule of the merchant's own blocks at Radar: the merchant's matter, not the customer's."""

from tests.integration.worker.world import World


async def test_of_a_payment_that_the_merchants_rule_blocks_the_customer_is_not_told(world: World) -> None:
    failed = await world.fail(decline="rule")
    row = await failed.finish()
    assert (row["state"], row["decline_cause"]) == ("exhausted", "not_allowed")
    assert await world.control.outbox() == []
    assert {entry["rule"] for entry in await failed.story("decided")} <= {"schedule", "window_ends_first"}


async def test_a_payment_is_collected_when_the_merchant_has_lifted_the_rule(world: World) -> None:
    failed = await world.fail(decline="rule", clears_after=1)
    row = await failed.finish()
    assert (row["state"], row["end_reason"]) == ("recovered", "paid_by_retry")
    assert len(await failed.charges()) == 1
