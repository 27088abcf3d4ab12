"""The process dies at an await of a run, and then a person speaks: nothing is charged after that."""

import pytest

from tests.integration.people.town import Town
from tests.integration.worker.doomed import rescued, run_until_death

STRIDE = 9
MOST_AWAITS = 400


@pytest.mark.parametrize("says", ["stop", "leave alone"])
async def test_killed_anywhere_nothing_is_charged_after_a_person_has_spoken(
    town: Town, database_url: str, says: str
) -> None:
    await town.world.policy(message_days=[])
    at, died, spared = 1 - STRIDE, True, 0
    while died:
        at += STRIDE
        assert at < MOST_AWAITS
        failed = await town.renewal(decline="do_not_honor", clears_after=1)
        await failed.attempt_due()
        async with run_until_death(town.world, database_url, at) as process:
            died = process.dead.is_set()
            charged = len(await failed.charges())
            if says == "stop":
                await town.stop(failed.recovery_id)
            else:
                await town.leave_alone(customer_id=failed.customer)
            await rescued(town.world)
            row = await failed.finish()
        assert len(await failed.charges()) == charged
        assert row["end_reason"] == ("paid_by_retry" if charged else "stopped_by_operator")
        spared += not charged
    assert spared > 5, "the run was stepped through"
