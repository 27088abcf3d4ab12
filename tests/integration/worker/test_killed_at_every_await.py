"""The process dies at every await of a `dunning_retry` run, and another one goes on: charged once, booked once."""

import pytest

from tests.integration.worker.doomed import rescued, run_until_death
from tests.integration.worker.world import Failed, World

MOST_AWAITS = 400


async def _is_charged_once(failed: Failed) -> None:
    row = await failed.finish()
    assert [each["amount"] for each in await failed.charged()] == [4_200]
    assert row["amount_recovered"] == 4_200
    assert (row["state"], row["end_reason"], row["recovered_by"]) == ("recovered", "paid_by_retry", "retry")
    assert len(await failed.charges()) == 1
    booked = await failed.booked()
    assert (booked["recovery_opened"], booked["recovery_recovered"]) == (1, 1)
    ours = await failed.ours()
    assert [each["result"] for each in ours].count("succeeded") == 1
    called = sum(each["result"] != "abandoned" for each in ours)
    assert booked.get("attempt", 0) == called
    assert not {"started", "unknown"} & {each["result"] for each in ours}


# Until the answer comes both roads are one: the second is walked in strides.
@pytest.mark.parametrize(("clears_after", "stride"), [(1, 1), (2, 5)], ids=["it succeeds", "it is declined"])
async def test_killed_anywhere_the_customer_is_charged_once_and_booked_once(
    world: World, database_url: str, clears_after: int, stride: int
) -> None:
    await world.policy(message_days=[])
    at, died = 1 - stride, True
    while died:
        at += stride
        assert at < MOST_AWAITS
        failed = await world.fail(decline="do_not_honor", clears_after=clears_after)
        await failed.attempt_due()
        async with run_until_death(world, database_url, at) as process:
            died = process.dead.is_set()
            await rescued(world)
            await _is_charged_once(failed)
    assert at > 20, "the run was stepped through"


# The debit's run begins it; each that follows looks whether it has ended.
@pytest.mark.parametrize("ends", [None, "insufficient_funds"], ids=["it is paid", "it fails"])
async def test_killed_anywhere_a_debit_is_made_once_and_booked_once(
    world: World, database_url: str, ends: str | None
) -> None:
    await world.policy(message_days=[])
    at, died = -4, True
    while died:
        at += 5
        assert at < MOST_AWAITS
        failed = await world.fail(debit={"takes_days": 3, "fails": ends, "clears_after": 1})
        await failed.attempt_due()
        async with run_until_death(world, database_url, at) as process:
            died = process.dead.is_set()
            await rescued(world)
            await _is_charged_once(failed)
        tries = [each for each in await world.control.attempts(failed.invoice) if each["source"] == "api_pay"]
        begun = [each for each in tries if each["outcome"] == "processing"]
        called = [each for each in await failed.ours() if each["result"] != "abandoned"]
        assert len(begun) == len(called), "each debit at the bank has one row"
        assert ends is not None or len(called) == 1
        assert len({each["charge_id"] for each in called}) == len(called)
    assert at > 20, "the run was stepped through"
