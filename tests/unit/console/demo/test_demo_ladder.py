"""What would have been: a ladder replayed from the simulator's fates against the same ladder really climbed."""

from contextlib import suppress
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from typing import Any

import pytest

from console.demo.ladder import climb, decline_of
from console.evaluation.ladders import LADDERS, Rungs
from console.evaluation.strategies import asks_for
from console.evaluation.writing import message_gaps
from services.worker.recovery import MessageKind, Policy, classify
from simulator import Simulator
from simulator.errors import ApiError
from simulator.fates import fates
from simulator.population import Plan
from simulator.shapes import DAY, HOUR
from simulator.world import Account

START = 1_793_610_000
ENDS = START + 40 * DAY


def _world(seed: int) -> Simulator:
    """Renewals, half of which have failed this very second; nothing has been tried since. Some of the cards are going
    to be renewed."""
    sim = Simulator(seed=seed, start=START)
    sim.population.populate(
        Plan(accounts=3, subscriptions=60, failing=0.5, renew_within=1, connected=True, renewed=0.5)
    )
    sim.jump(START + 2 * HOUR)
    return sim


def _failed(sim: Simulator) -> list[dict[str, Any]]:
    return [asdict(each) for each in fates(sim.world)]


def test_a_fate_is_what_was_drawn_and_what_is_tried_changes_none_of_it() -> None:
    sim = _world(1)
    before = _failed(sim)
    assert {each["invoice"] for each in before} == set(sim.world.failed)
    for account in sim.world.accounts.values():
        for invoice in list(account.objects["invoice"].values()):
            if invoice["status"] == "open":
                with suppress(ApiError):
                    sim.collecting.pay(account, invoice, None)
    sim.jump(ENDS)
    assert _failed(sim)[: len(before)] == before


def _really_climbed(rungs: Rungs, sim: Simulator) -> dict[str, int]:
    """The ladder in the simulator's own world, with the same emails: when each invoice was paid."""
    gaps = {kind: message_gaps(Policy.default(), kind) for kind in MessageKind}
    for fate in _failed(sim):
        account = sim.world.account_of(fate["invoice"])
        invoice = account.get("invoice", fate["invoice"])
        asked = asks_for(decline_of(fate))
        links = invoice["hosted_invoice_url"]
        if asked is MessageKind.NEW_METHOD_NEEDED:
            links += " " + _portal(sim, account, invoice)
        left_alone = fate["payment_method"] if rungs.obeys_hard and classify(decline_of(fate)).hard else None
        for after in gaps[asked]:
            sim.world.clock.at(fate["failed_at"] + int(after), partial(_email, sim, invoice, links))
        for gap in accumulate(rungs.gaps):
            at = fate["failed_at"] + int(gap.total_seconds())
            sim.world.clock.at(at, partial(_try, sim, account, invoice, left_alone))
    sim.jump(ENDS)
    failed = set(sim.world.failed)
    return {
        each.invoice: each.at for each in sim.world.attempts if each.outcome == "succeeded" and each.invoice in failed
    }


def _portal(sim: Simulator, account: Account, invoice: dict[str, Any]) -> str:
    token = sim.world.ids.token("page", account.id)
    sim.world.links[token] = (account.id, invoice["customer"])
    return f"https://billing.stripe.com/p/session/test_{token}"


def _email(sim: Simulator, invoice: dict[str, Any], text: str) -> None:
    if invoice["status"] == "open":
        sim.people.email_arrived(text)


def _try(sim: Simulator, account: Account, invoice: dict[str, Any], left_alone: str | None) -> None:
    if invoice["status"] != "open":
        return
    customer = account.get("customer", invoice["customer"])
    default = customer["invoice_settings"]["default_payment_method"]
    renewal = account.renewals.get(default)
    renewed = renewal is not None and renewal.at <= sim.world.clock.now
    if left_alone is not None and default == left_alone and not renewed:
        return
    with suppress(ApiError):
        sim.collecting.pay(account, invoice, None)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("rungs", LADDERS, ids=lambda rungs: rungs.name)
def test_a_replayed_ladder_collects_what_the_same_ladder_collects_when_it_is_climbed(rungs: Rungs, seed: int) -> None:
    sim = _world(seed)
    replayed = climb(rungs, _failed(sim), ENDS)
    climbed = _really_climbed(rungs, sim)
    paid = {invoice: int(each.paid_at) for invoice, each in replayed.items() if each.paid_at is not None}
    assert len(paid) > 20
    assert {each["invoice"] for each in _failed(sim) if each["renewed_at"]} & paid.keys()
    assert paid == climbed
