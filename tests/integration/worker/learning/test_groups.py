"""Groups of a merchant's recoveries, from the rows to the decision; and decisions that explore."""

from datetime import datetime
from typing import Any

import pytest

from services.worker.recovery import case
from services.worker.recovery.belief.document import read_document
from services.worker.recovery.belief.groups import LARGE, REST, SMALL, Trait, Traits
from services.worker.recovery.belief.learning import LEAST_OF_GROUP
from shared.money import Money
from shared.policy import Likeliest, Policy, Schedules
from tests.integration.worker.learning.looks import kept, learn_now
from tests.integration.worker.pasts import write_paid_on
from tests.integration.worker.world import World

POLICY = Policy(timing="learned", schedules=Schedules(insufficient_funds=Likeliest(max_attempts=1)), message_days=())


async def planned(world: World, **card: Any) -> tuple[datetime, dict[str, Any], str]:
    """When a renewal that has just failed on this card is tried next; the inputs and the text of the reason."""
    failed = await world.fail(decline="insufficient_funds", country="DE", **card)
    await world.work()
    entry = (await failed.story("decided"))[-1]
    row = await failed.recovery()
    return row["next_attempt_at"], entry["detail"]["reason"]["inputs"], entry["explanation"]


async def test_what_is_kept_is_a_tree_by_the_traits_of_the_rows(world: World, now: datetime) -> None:
    many = 2 * LEAST_OF_GROUP
    await write_paid_on(world, world.merchant_id, many, 22, now, funding="debit", amounts=(100, 5_000))
    await write_paid_on(world, world.merchant_id, LEAST_OF_GROUP, 15, now, funding="prepaid")
    await write_paid_on(world, world.merchant_id, 5, 15, now, funding=None)
    await learn_now(world, world.merchant_id)
    row = await kept(world, world.merchant_id)
    learned = read_document(row["belief"])
    assert row["recoveries"] == many + LEAST_OF_GROUP + 5
    assert learned.medians == {"usd": 100}
    assert (learned.root.by, set(learned.root.parts)) == (Trait.FUNDING, {"debit", "prepaid", REST})
    debit = learned.root.parts["debit"]
    assert (debit.by, set(debit.parts)) == (Trait.AMOUNT, {SMALL, LARGE, REST})
    assert learned.root.parts["prepaid"].by is None
    for funding, day, other in (("debit", 22, 15), ("prepaid", 15, 22)):
        for amount in (100, 5_000):
            paydays = learned.of(Traits("DE", funding, "visa", Money(amount, "usd"))).paydays
            assert paydays[f"day_{day}"] > 2 * paydays[f"day_{other}"]


async def test_a_decision_is_made_by_the_group_that_the_payment_belongs_to(world: World, now: datetime) -> None:
    await world.policy(**POLICY.model_dump(mode="json"))
    await write_paid_on(world, world.merchant_id, LEAST_OF_GROUP, 22, now, funding="debit")
    await write_paid_on(world, world.merchant_id, LEAST_OF_GROUP, 15, now, funding="prepaid")
    await learn_now(world, world.merchant_id)
    debit, prepaid = [await planned(world, funding=each) for each in ("debit", "prepaid")]
    assert debit[0].day in (22, 23)
    assert prepaid[0].day in (15, 16)
    assert "customers are paid on the 22." in debit[2]
    assert "customers are paid on the 15." in prepaid[2]


async def test_a_decision_is_made_by_what_is_due_where_amounts_differ(world: World, now: datetime) -> None:
    await world.policy(**POLICY.model_dump(mode="json"))
    await write_paid_on(world, world.merchant_id, LEAST_OF_GROUP, 22, now, amounts=(100,))
    await write_paid_on(world, world.merchant_id, LEAST_OF_GROUP, 15, now, amounts=(900_000,))
    await learn_now(world, world.merchant_id)
    small = await world.fail(100, decline="insufficient_funds", country="DE")
    large = await world.fail(900_000, decline="insufficient_funds", country="DE")
    await world.work()
    assert (await small.recovery())["next_attempt_at"].day in (22, 23)
    assert (await large.recovery())["next_attempt_at"].day in (15, 16)


@pytest.mark.parametrize("explored", [0, 1])
async def test_a_recovery_that_explores_says_so_in_its_timeline(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch, explored: int
) -> None:
    monkeypatch.setattr(case, "EXPLORED", explored)
    await world.policy(**POLICY.model_dump(mode="json"))
    _, inputs, text = await planned(world)
    assert "explores" not in inputs, "nothing was learned"
    await write_paid_on(world, world.merchant_id, LEAST_OF_GROUP, 22, now)
    await learn_now(world, world.merchant_id)
    _, inputs, text = await planned(world)
    assert inputs.get("explores") == (True if explored else None)
    assert ("one of the few recoveries that also try times beside those that were learned" in text) is bool(explored)
