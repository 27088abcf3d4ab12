"""An attempt that follows from a belief keeps its predicted chance in its row, from before the call on."""

from datetime import timedelta
from typing import Any

import pytest

from services.ledger.calibration.endpoints import calibration
from services.worker.outside import stripe_calls
from shared.database import Role
from tests.conftest import OpenDatabase
from tests.integration.worker.world import Failed, World

LIKELIEST = {"kind": "likeliest", "after_hours": 20}


async def policy(world: World, *causes: str, **document: Any) -> None:
    """After these causes attempts are made when they are likeliest to collect."""
    await world.policy(schedules=dict.fromkeys(causes, LIKELIEST), **document)


def predicted(row: Any) -> tuple[float | None, str | None]:
    """What an attempt's row says was predicted."""
    return row["predicted_chance"], row["after_cause"]


async def told(failed: Failed) -> Any:
    """The chance that the last decision tells."""
    return (await failed.story("decided"))[-1]["detail"]["reason"]["inputs"]["chance"]


async def test_each_attempt_of_a_whole_recovery_keeps_what_its_plan_told(world: World) -> None:
    await policy(world, "insufficient_funds")
    failed = await world.fail(decline="insufficient_funds", clears_after=3)
    chances = []
    for number in (1, 2, 3):
        await failed.attempt_due()
        chances.append(await told(failed))
        await world.work()
        ours = await failed.ours()
        assert len(ours) == number
    assert [row["result"] for row in ours] == ["declined", "declined", "succeeded"]
    assert [round(row["predicted_chance"], 3) for row in ours] == chances
    assert len(set(chances)) > 1
    assert {row["after_cause"] for row in ours} == {"insufficient_funds"}
    made = [row["detail"]["reason"]["inputs"]["chance"] for row in await failed.story("attempted")]
    assert made == chances
    assert {predicted(row) for row in await failed.theirs()} == {(None, None)}


async def test_what_was_predicted_is_in_the_report_with_what_came(world: World, open_database: OpenDatabase) -> None:
    await policy(world, "insufficient_funds")
    paid = await world.fail(decline="insufficient_funds", clears_after=3)
    assert (await paid.finish())["end_reason"] == "paid_by_retry"
    async with open_database(Role.LEDGER) as ledger, ledger.transaction() as db:
        found = await calibration(db, world.merchant_id, None, None, "cause")
    ours = await paid.ours()
    (group,) = found.data
    assert (group.group, group.attempts, group.succeeded) == ("insufficient_funds", 3, 1)
    assert group.predicted == pytest.approx(sum(row["predicted_chance"] for row in ours) / 3, abs=1e-6)


async def test_it_is_written_before_the_request_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await policy(world, "insufficient_funds")
    failed = await world.fail(decline="insufficient_funds")
    seen: list[tuple[str, Any]] = []
    pay = stripe_calls.pay

    async def looked_at(*given: Any) -> Any:
        (row,) = await failed.ours()
        seen.append((row["result"], predicted(row)))
        return await pay(*given)

    await failed.attempt_due()
    monkeypatch.setattr(stripe_calls, "pay", looked_at)
    await world.work()
    ((result, (chance, cause)),) = seen
    assert (result, cause) == ("started", "insufficient_funds")
    assert chance is not None
    (row,) = await failed.ours()
    assert predicted(row) == (chance, cause)


async def test_it_is_about_the_cause_of_the_decline_before_it(world: World) -> None:
    await policy(world, "insufficient_funds", "try_later")
    failed = await world.fail(decline="insufficient_funds")
    await failed.attempt_due()
    await world.control.set_script(failed.payment_method, decline="issuer_not_available")
    await world.work()
    await failed.attempt_due()
    await world.work()
    assert [row["after_cause"] for row in await failed.ours()] == ["insufficient_funds", "try_later"]


async def test_a_network_that_puts_an_attempt_off_leaves_it_the_chance_of_its_own_hour(world: World) -> None:
    """Mastercard's advice 27: not within four days. Without it the attempt would be made on the next day."""
    await policy(world, "insufficient_funds")
    sooner = await world.fail(decline="insufficient_funds", brand="visa")
    failed = await world.fail(decline="insufficient_funds", brand="mastercard")
    await world.work()
    next_day = (await sooner.recovery())["next_chance"]
    assert (await failed.story("decided"))[-1]["rule"] == "network_limit"
    await failed.until_due()
    await world.work()
    (row,) = await failed.ours()
    (made,) = await failed.story("attempted")
    assert row["started_at"] - timedelta(days=4) >= (await failed.recovery())["opened_at"]
    assert round(row["predicted_chance"], 3) == made["detail"]["reason"]["inputs"]["chance"]
    assert abs(row["predicted_chance"] - next_day) > 0.02


async def test_what_nothing_predicts_has_no_chance(world: World) -> None:
    """By delays; and another card of the customer's, which is tried for the first time."""
    failed = await world.fail(decline="try_again_later")
    await failed.attempt_due()
    await world.work()
    assert [predicted(row) for row in await failed.ours()] == [(None, None)]

    await policy(world, "insufficient_funds")
    other = await world.fail(decline="insufficient_funds")
    await world.work()
    assert await told(other) > 0
    await world.pass_time(hours=1)
    await world.control.add_card(other.customer)
    await world.hear()
    await world.work()
    (row,) = await other.ours()
    assert row["result"] == "succeeded"
    assert predicted(row) == (None, None)


async def test_a_plan_that_is_given_up_leaves_no_chance_to_the_next_attempt(world: World) -> None:
    """The card is lost, as the bank says now: nothing is planned with it any more."""
    await policy(world, "insufficient_funds")
    failed = await world.fail(decline="insufficient_funds")
    await world.work()
    assert (await failed.recovery())["next_chance"] is not None
    await world.control.set_script(failed.payment_method, decline="lost_card")
    await failed.until_due()
    await world.work()
    row = await failed.recovery()
    assert row["state"] == "needs_new_method"
    assert (row["next_method"], row["next_chance"], row["next_after_cause"]) == (None, None, None)
