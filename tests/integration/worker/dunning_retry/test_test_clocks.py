"""Customers on a test clock of Stripe's: their charges, invoices and cards have that clock's time, not everybody's."""

from datetime import timedelta

import pytest

from tests.integration.worker.world import World

DAY = 86_400
CLOCKS = pytest.mark.parametrize("days", [40, 400, 2, -2, -40], ids=lambda days: f"{days:+d}_days")


@CLOCKS
async def test_a_renewal_on_a_test_clock_is_recovered_like_any_other(world: World, days: int) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=2)
    await world.control.set_test_clock(failed.customer, days * DAY)
    row = await failed.finish()
    assert (row["state"], row["end_reason"]) == ("recovered", "paid_by_retry")
    assert [attempt["result"] for attempt in await failed.ours()] == ["declined", "succeeded"]


@pytest.mark.parametrize("days", [1, 40, 400])
async def test_a_charge_that_is_dated_ahead_counts_as_made_when_it_was_seen(world: World, days: int) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.control.set_test_clock(failed.customer, days * DAY)
    opened = (await failed.recovery())["opened_at"]
    await world.work()
    (first,) = await failed.theirs()
    assert first["started_at"] == opened
    await world.pass_time(days=1)
    await world.control.stripe_retry(failed.invoice)
    await world.work()
    seen = (await failed.recovery())["updated_at"]
    await world.pass_time(days=3)
    await world.work()
    assert [attempt["started_at"] > opened for attempt in await failed.theirs()] == [False, True]
    assert all(attempt["started_at"] - seen < timedelta(days=4) for attempt in await failed.theirs())


@CLOCKS
async def test_an_attempt_without_an_answer_is_found_on_any_clock(world: World, days: int) -> None:
    """Stripe saves a 500 of a request that charged: only the charge's event says whose it was."""
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.control.set_test_clock(failed.customer, days * DAY)
    await world.control.add_fault(kind="server_error", method="POST", path="*/pay", times=1, after_effect=True)
    row = await failed.finish()
    assert (row["state"], row["recovered_by"]) == ("recovered", "retry")
    (charge,) = await failed.charges()
    assert [each["charge_id"] for each in await failed.ours()] == [charge["charge"]]
