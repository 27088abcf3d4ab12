"""A population's debits, renewed cards, refunds and disputes: as many as were asked for, and drawn before anything was
tried."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest

from simulator import Simulator, SimulatorClient
from simulator.bank_accounts import CURRENCIES, DEBIT_OF, FAILURES
from simulator.cards import AUTOMATIC
from simulator.errors import ApiError
from simulator.fates import fates
from simulator.mishaps import RENEWED_CAUSES
from simulator.population import Plan
from simulator.shapes import DAY, HOUR
from tests.simulator.conftest import START

BESIDE: dict[str, Any] = {"debits": 0.3, "renewed": 1.0, "refunds": 0.2, "disputes": 0.2}


def world(days: int = 0, **plan: Any) -> Simulator:
    """Three merchants, half of whose subscriptions fail within the first hours."""
    sim = Simulator(seed=7, start=START, validate_responses=True)
    sim.population.populate(Plan(accounts=3, subscriptions=60, failing=0.5, renew_within=HOUR, connected=True, **plan))
    sim.jump(START + days * DAY)
    return sim


def collected_daily(sim: Simulator, days: int) -> Simulator:
    """What is open is asked for once a day, without thinking."""
    for _ in range(days):
        sim.jump(sim.world.clock.now + DAY)
        for account, invoice in list(sim.world.everywhere("invoice")):
            if invoice["status"] == "open":
                try:
                    sim.collecting.pay(account, invoice, None)
                except ApiError:
                    continue
    return sim


async def test_unless_they_are_asked_for_there_are_no_debits_renewals_refunds_or_disputes(
    control: SimulatorClient,
) -> None:
    await control.populate(accounts=3, subscriptions=40, failing=0.4)
    await control.advance(25 * DAY)
    assert {movement["kind"] for movement in await control.book()} == {"charge"}
    assert await control.events(type=AUTOMATIC) == []


async def test_the_shares_are_taken_by_the_control_api(control: SimulatorClient) -> None:
    await control.populate(accounts=3, subscriptions=40, failing=0.4, renewed_after=[DAY, 2 * DAY], **BESIDE)
    await control.advance(25 * DAY)
    kinds = {movement["kind"] for movement in await control.book()}
    assert {"charge", "fee", "refund", "dispute_withdrawn", "dispute_reinstated"} <= kinds
    assert await control.events(type=AUTOMATIC) != []


def test_this_share_of_those_who_fail_and_of_the_others_pays_by_their_currencys_debit() -> None:
    sim = world(days=6, debits=0.3)
    for account in sim.world.accounts.values():
        first = [each for each in sim.world.attempts if each.account == account.id and each.source == "renewal"]
        begun = [each for each in first if each.outcome == "processing"]
        assert {account.get("payment_method", each.payment_method)["type"] for each in begun} <= {
            DEBIT_OF[account.currency]
        }
        ends = Counter(each.outcome for each in first if each.concludes is not None)
        assert (len(begun), ends) in [(0, {}), (18, {"succeeded": 9, "failed": 9})]
    assert {each.decline_code for each in sim.world.attempts if each.outcome == "failed"} <= set(FAILURES)


def test_where_a_currency_has_no_debit_everybody_pays_by_card() -> None:
    sim = world(days=6, debits=1.0, currencies=("jpy", "usd"))
    types = {(account.currency, found["type"]) for account, found in sim.world.everywhere("payment_method")}
    assert types == {("jpy", "card"), ("usd", "us_bank_account")}


def test_a_failed_debit_is_paid_by_a_retry_days_later_or_never() -> None:
    sim = collected_daily(world(debits=1.0), 35)
    failed = {each.invoice for each in sim.world.attempts if each.outcome == "failed"}
    paid = [each for each in sim.world.attempts if each.outcome == "succeeded" and each.invoice in failed]
    begun = {each.seq: each.at for each in sim.world.attempts if each.outcome == "processing"}
    assert 0 < len(paid) < len(failed)
    assert {each.at - begun[each.concludes or 0] for each in paid} <= {3 * DAY, 4 * DAY, 5 * DAY}


def test_cards_that_expired_or_were_lost_are_renewed_under_their_id_and_good_from_then_on() -> None:
    sim = world(days=1, renewed=1.0, renewed_after=(2 * DAY, 4 * DAY))
    renewable = {each.invoice: each for each in fates(sim.world) if each.decline_code in RENEWED_CAUSES}
    before = {
        each.payment_method: dict(
            sim.world.account_of(each.payment_method).get("payment_method", each.payment_method)["card"]
        )
        for each in renewable.values()
    }
    sim.jump(START + 5 * DAY)
    assert len(renewable) > 5
    for each in renewable.values():
        account = sim.world.account_of(each.invoice)
        card = account.get("payment_method", each.payment_method)["card"]
        assert each.renewed_at is not None
        assert 2 * DAY <= each.renewed_at - each.failed_at <= 4 * DAY
        new_number = card["fingerprint"] != before[each.payment_method]["fingerprint"]
        assert new_number == RENEWED_CAUSES[each.decline_code or ""]
        assert card["exp_year"] > before[each.payment_method]["exp_year"]
        sim.collecting.pay(account, account.get("invoice", each.invoice), None)
    told = [event for event in sim.world.events.values() if event.type == AUTOMATIC]
    assert len(told) == len(renewable)


def test_a_renewed_cards_fate_is_still_what_was_drawn() -> None:
    sim = world(days=1, renewed=1.0)
    before = [asdict(each) for each in fates(sim.world)]
    assert any(each["renewed_at"] for each in before)
    collected_daily(sim, 12)
    assert [asdict(each) for each in fates(sim.world)][: len(before)] == before


def test_this_share_of_charges_is_refunded_or_disputed_days_later_and_once() -> None:
    sim = world(days=25, refunds=0.2, disputes=0.2)
    charged = {each.charge: each for each in sim.book.movements if each.kind == "charge"}
    back = [each for each in sim.book.movements if each.kind in {"refund", "dispute_withdrawn"}]
    kinds = Counter(each.kind for each in back)
    assert 0.1 * len(charged) < kinds["refund"] < 0.3 * len(charged)
    assert 0.1 * len(charged) < kinds["dispute_withdrawn"] < 0.3 * len(charged)
    assert len({each.charge for each in back}) == len(back)
    assert all(DAY <= each.at - charged[each.charge].at <= 9 * DAY for each in back)
    in_part = [each for each in back if each.kind == "refund" and -each.amount < charged[each.charge].amount]
    assert 0 < len(in_part) < kinds["refund"]
    assert {found["status"] for _, found in sim.world.everywhere("dispute")} == {"won", "lost"}
    assert 0 < sum(each.kind == "refund_failed" for each in sim.book.movements) < kinds["refund"] / 2


def test_whose_money_goes_back_is_the_same_whoever_collects() -> None:
    early, late = collected_daily(world(**BESIDE), 1), world(**BESIDE)
    late.jump(START + 2 * DAY)
    for sim in (early, late):
        collected_daily(sim, 12)
        sim.jump(START + 60 * DAY)

    def gone(sim: Simulator) -> set[tuple[str | None, str, int]]:
        """Of the invoices that both have collected by now."""
        return {
            (each.invoice, each.kind, each.amount)
            for each in sim.book.movements
            if each.kind in {"refund", "dispute_withdrawn"} and each.invoice in both
        }

    both = set.intersection(
        *({each.invoice for each in sim.book.movements if each.kind == "charge"} for sim in (early, late))
    )
    assert gone(early) == gone(late) != set()


def test_what_is_beside_the_cards_leaves_the_cards_as_they_were() -> None:
    plain, more = world(days=1), world(days=1, **BESIDE)
    kept = {each.invoice: each for each in fates(plain.world)}
    assert {each.invoice for each in fates(more.world)} < set(kept)
    for each in fates(more.world):
        drawn = (each.failed_at, each.decline_code, each.clears_at, each.reaction, each.delay, each.on_email)
        old = kept[each.invoice]
        assert drawn == (old.failed_at, old.decline_code, old.clears_at, old.reaction, old.delay, old.on_email)


@pytest.mark.parametrize("currency", sorted(set(CURRENCIES.values())))
async def test_a_customer_who_pays_by_debit_after_an_email_has_paid_days_later(
    control: SimulatorClient, currency: str, simulation: Simulator
) -> None:
    account = await control.add_account(currency=currency, connected=True)
    story = await control.add_renewal(
        account["id"], card={"decline": "lost_card"}, reaction={"kind": "pay_by_debit", "delay": HOUR}
    )
    simulation.people.email_arrived(story["invoice"]["hosted_invoice_url"])
    await control.advance(HOUR)
    assert [each["outcome"] for each in await control.attempts()] == ["declined", "processing"]
    await control.advance(6 * DAY)
    assert [(each["outcome"], each["source"]) for each in await control.attempts()][2:] == [
        ("succeeded", "hosted_page")
    ]
