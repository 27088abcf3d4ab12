"""What the demo's two stories hold for their own seed, before anybody collects anything."""

import pytest

from console.demo.local_target import FIRST_DAY
from console.demo.story import Story
from simulator import Simulator
from simulator.bank_accounts import CURRENCIES
from simulator.fates import fates
from simulator.population import Plan
from simulator.shapes import DAY


@pytest.mark.parametrize("story", [Story.small(), Story()], ids=["small", "whole"])
def test_each_story_has_at_least_one_of_every_kind_of_payment_that_is_no_declined_card(story: Story) -> None:
    sim = Simulator(seed=story.seed, start=int(FIRST_DAY.timestamp()))
    plan = Plan(accounts=story.merchants, subscriptions=story.subscriptions, **story.beside)  # type: ignore[arg-type]  # shares and spans
    sim.population.populate(plan)
    sim.jump(sim.world.clock.now + story.days * DAY)

    failed_debits = [each for each in sim.world.attempts if each.outcome == "failed" and each.source == "renewal"]
    of_kinds = {
        sim.world.account_of(each.invoice).get("payment_method", each.payment_method)["type"] for each in failed_debits
    }
    renewed = [
        each for each in fates(sim.world) if each.renewed_at is not None and each.renewed_at < sim.world.clock.now
    ]
    back = {movement.kind for movement in sim.book.movements}

    assert of_kinds == set(CURRENCIES)
    assert renewed != []
    assert {"refund", "dispute_withdrawn"} <= back
