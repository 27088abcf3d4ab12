"""Which payment method is charged: the one that was planned, what the customer has brought, a card that was renewed.

The worker runs against the simulator, and what happens there reaches it by the real ingress.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from shared.database import Database, Role
from tests.conftest import OpenDatabase
from tests.integration.ingress.world import SECRETS, client_for
from tests.integration.worker.world import Failed, World, worker_world

PINS = ["subscription", "invoice"]
DECLINES = ["lost_card", "expired_card", "insufficient_funds", "do_not_honor", "authentication_required"]
SOON = timedelta(minutes=5)


@pytest.fixture
async def town(open_database: OpenDatabase, database: Database) -> AsyncIterator[World]:
    """The worker's world; what happens at Stripe is posted to an ingress."""
    async with (
        open_database(Role.INGRESS) as opened,
        client_for(opened) as client,
        worker_world(database, open_database) as world,
    ):
        await world.control.configure_webhooks(url=str(client.make_url("/webhooks/stripe")), secret=SECRETS[0])
        yield world


async def _told_all(world: World) -> None:
    """Every event has reached the ingress, and whatever it asks for is done."""
    assert await world.control.drain()
    await world.work()


async def _pin(failed: Failed, place: str) -> None:
    """The subscription or the invoice names the card that has failed, as Stripe Checkout leaves it."""
    if place == "subscription":
        await failed.world.control.pin_card(failed.subscription, failed.payment_method)
        return
    (account,) = [failed.world.simulation.world.accounts[failed.world.account]]
    account.objects["invoice"][failed.invoice]["default_payment_method"] = failed.payment_method


def _running(world: World) -> "asyncio.Task[int]":
    """A worker that does what is due, while the test goes on."""
    return asyncio.create_task(world.work())


async def _pays(world: World) -> list[dict[str, Any]]:
    sent = await world.control.requests(method="POST")
    return [each["params"] for each in sent if each["path"].endswith("/pay")]


async def _paid_with(failed: Failed) -> str:
    (charge,) = [each for each in await failed.charges() if each["outcome"] == "succeeded"]
    return str(charge["payment_method"])


async def _recovered_at_once(failed: Failed, since: Any) -> asyncpg.Record:
    row = await failed.recovery()
    assert row["state"] == "recovered", [each["rule"] for each in await failed.story()]
    assert row["closed_at"] - since < SOON
    return row


async def _later(world: World, failed: Failed, **by: float) -> Any:
    """Time goes on, and whatever is due is done; the time then."""
    await _told_all(world)
    await world.pass_time(**by)
    await _told_all(world)
    return await world.value("SELECT citadel_now()")


# -- what the customer has brought -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PINS)
@pytest.mark.parametrize("decline", DECLINES)
async def test_a_new_default_is_charged_at_once_although_an_older_card_is_pinned(
    town: World, decline: str, place: str
) -> None:
    failed = await town.fail(decline=decline)
    await _pin(failed, place)
    now = await _later(town, failed, minutes=30)
    brought = await town.control.own_form(failed.customer)
    await _told_all(town)
    await _recovered_at_once(failed, now)
    assert await _paid_with(failed) == brought["id"]
    (pay,) = await _pays(town)
    assert pay["payment_method"] == brought["id"]


async def test_a_new_default_is_known_from_the_reading_alone(world: World) -> None:
    """No event came: the next evaluation sees that the default is another than at first."""
    failed = await world.fail(decline="lost_card")
    await _pin(failed, "subscription")
    await world.work()
    brought = await world.control.own_form(failed.customer)
    await world.execute("UPDATE scheduled_tasks SET run_at = citadel_now() WHERE task_type = 'dunning_retry'")
    await world.work()
    assert (await failed.recovery())["state"] == "recovered"
    assert await _paid_with(failed) == brought["id"]


async def test_what_is_pinned_stays_pinned_and_the_default_stays_the_customers(town: World) -> None:
    failed = await town.fail(decline="lost_card")
    await _pin(failed, "subscription")
    now = await _later(town, failed, minutes=30)
    brought = await town.control.own_form(failed.customer)
    await _told_all(town)
    await _recovered_at_once(failed, now)
    kept = town.simulation.world.accounts[town.account].objects
    assert kept["subscription"][failed.subscription]["default_payment_method"] == failed.payment_method
    assert kept["customer"][failed.customer]["invoice_settings"]["default_payment_method"] == brought["id"]


@pytest.mark.parametrize("allowed", [False, True], ids=["not allowed", "allowed"])
async def test_a_default_that_was_there_before_the_failure_is_a_backup_like_any_other(
    town: World, *, allowed: bool
) -> None:
    await town.policy(backup_methods=allowed)
    failed = await town.fail(decline="lost_card")
    await _pin(failed, "subscription")
    old = await town.control.add_card(failed.customer, default=False)
    town.simulation.world.accounts[town.account].objects["customer"][failed.customer]["invoice_settings"] = {
        "default_payment_method": old["id"],
        "custom_fields": None,
        "footer": None,
        "rendering_options": None,
    }
    await town.work()
    for _ in range(3):
        await town.pass_time(days=5)
        await town.work()
    assert (await failed.recovery())["state"] == ("recovered" if allowed else "needs_new_method")


async def test_a_card_that_is_attached_after_a_message_is_the_customers_answer(town: World) -> None:
    failed = await town.fail(decline="lost_card")
    now = await _later(town, failed, minutes=30)
    assert len(await town.control.outbox()) == 1
    brought = await town.control.own_form(failed.customer, default=False)
    await _told_all(town)
    await _recovered_at_once(failed, now)
    assert await _paid_with(failed) == brought["id"]


async def test_a_card_that_is_attached_without_being_asked_for_is_not_charged(town: World) -> None:
    await town.policy(message_days=[20], new_method_days=[20])
    failed = await town.fail(decline="insufficient_funds", clears_in=60 * 86_400)
    await _later(town, failed, minutes=30)
    assert not await town.control.outbox()
    other = await town.control.own_form(failed.customer, default=False)
    await _told_all(town)
    for _ in range(3):
        await town.pass_time(days=4)
        await town.work()
    ours = await failed.ours()
    assert ours
    assert other["id"] not in {each["payment_method_id"] for each in ours}


async def test_two_cards_in_a_row_are_each_tried_at_once(town: World) -> None:
    failed = await town.fail(decline="lost_card")
    await _pin(failed, "subscription")
    await _later(town, failed, minutes=30)
    first = await town.control.own_form(failed.customer, decline="stolen_card")
    await _told_all(town)
    now = await _later(town, failed, hours=2)
    second = await town.control.own_form(failed.customer)
    await _told_all(town)
    await _recovered_at_once(failed, now)
    tried = [(each["payment_method_id"], each["result"]) for each in await failed.ours()]
    assert tried == [(first["id"], "declined"), (second["id"], "succeeded")]


async def test_a_new_card_that_is_declined_softly_is_tried_again_by_its_own_schedule(town: World) -> None:
    failed = await town.fail(decline="lost_card")
    await _pin(failed, "subscription")
    await _later(town, failed, minutes=30)
    brought = await town.control.own_form(failed.customer, decline="do_not_honor", clears_after=1)
    await _told_all(town)
    assert (await failed.recovery())["state"] == "waiting"
    await failed.finish()
    assert [each["payment_method_id"] for each in await failed.ours()] == [brought["id"]] * 2


async def test_when_the_new_card_fails_for_good_the_pinned_one_goes_on(town: World) -> None:
    failed = await town.fail(decline="insufficient_funds", clears_after=1)
    await _pin(failed, "subscription")
    await _later(town, failed, minutes=30)
    brought = await town.control.own_form(failed.customer, decline="lost_card")
    await _told_all(town)
    row = await failed.finish()
    assert row["state"] == "recovered"
    assert [each["payment_method_id"] for each in await failed.ours()] == [brought["id"], failed.payment_method]


async def test_a_bank_account_that_was_brought_is_planned_by_its_own_fingerprint(town: World) -> None:
    failed = await town.fail(decline="lost_card")
    await _pin(failed, "subscription")
    await _later(town, failed, minutes=30)
    account = await town.control.add_debit(failed.customer, "us_bank_account")
    await _told_all(town)
    (ours,) = await failed.ours()
    assert ours["payment_method_id"] == account["id"]
    assert ours["card_fingerprint"] == account["us_bank_account"]["fingerprint"]
    assert ours["card_network"] == "us_bank_account"


async def test_where_stripe_makes_the_retries_no_card_is_named(town: World) -> None:
    await town.policy(driver="stripe")
    failed = await town.fail(decline="lost_card")
    await _pin(failed, "subscription")
    await _later(town, failed, minutes=30)
    await town.control.own_form(failed.customer)
    await _told_all(town)
    assert await _pays(town) == []


# -- the planned one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["card", "src"])
async def test_a_customer_with_a_default_source_is_retried(world: World, prefix: str) -> None:
    failed = await world.fail(decline="do_not_honor")
    customer = world.simulation.world.accounts[world.account].objects["customer"][failed.customer]
    source = await world.control.add_source(failed.customer, prefix=prefix, decline="do_not_honor", clears_after=1)
    customer["invoice_settings"] = {**customer["invoice_settings"], "default_payment_method": None}
    row = await failed.finish()
    assert row["state"] == "recovered"
    assert {each["source"] for each in await _pays(world)} == {source["id"]}
    ours = await failed.ours()
    assert [each["result"] for each in ours] == ["declined", "succeeded"]
    assert {each["card_fingerprint"] for each in ours} == {source["card"]["fingerprint"]}


async def test_a_card_that_took_another_ones_place_before_the_call_is_charged_at_once_instead(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    now = await world.value("SELECT citadel_now()")
    other = await world.control.add_card(failed.customer)
    await world.work()
    await _recovered_at_once(failed, now)
    tried = [(each["payment_method_id"], each["result"]) for each in await failed.ours()]
    assert tried == [(failed.payment_method, "abandoned"), (other["id"], "succeeded")]
    assert await _paid_with(failed) == other["id"]


async def test_a_new_number_before_the_call_is_charged_at_once_instead(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    now = await world.value("SELECT citadel_now()")
    renewed = await world.control.renew_card(failed.payment_method, number=True)
    await world.work()
    await _recovered_at_once(failed, now)
    abandoned, made = await failed.ours()
    assert (abandoned["result"], made["result"]) == ("abandoned", "succeeded")
    assert abandoned["card_fingerprint"] != made["card_fingerprint"] == renewed["card"]["fingerprint"]


async def test_methods_that_change_at_every_look_do_not_keep_a_worker_busy(world: World) -> None:
    """Whatever flips between two cards is not followed for ever: the second time, the gap is kept."""
    failed = await world.fail(decline="do_not_honor")
    await failed.attempt_due()
    other = await world.control.add_card(failed.customer, default=False)
    cards = [other["id"], failed.payment_method] * 20
    read = world.simulation.world.accounts[world.account].get("customer", failed.customer)
    for card in cards[:6]:
        read["invoice_settings"] = {**read["invoice_settings"], "default_payment_method": card}
        await world.engine.run_due()
    assert len([each for each in await failed.ours() if each["result"] == "abandoned"]) <= 4


async def test_a_deleted_default_is_asked_for_and_a_new_one_is_tried(town: World) -> None:
    failed = await town.fail(decline="do_not_honor")
    await town.work()
    account = town.simulation.world.accounts[town.account]
    customer = account.objects["customer"][failed.customer]
    customer["invoice_settings"] = {**customer["invoice_settings"], "default_payment_method": None}
    await failed.until_due()
    await town.work()
    assert (await failed.recovery())["state"] == "needs_new_method"
    now = await _later(town, failed, hours=1)
    brought = await town.control.own_form(failed.customer)
    await _told_all(town)
    await _recovered_at_once(failed, now)
    assert await _paid_with(failed) == brought["id"]


async def test_a_customer_without_any_method_is_charged_at_once_when_one_comes(town: World) -> None:
    made = await town.control.add_bare_renewal(town.account)
    assert await town.control.drain()
    (row,) = await town.rows("SELECT id FROM recoveries WHERE invoice_id = $1", made["invoice"]["id"])
    failed = Failed(town, row["id"], made["invoice"]["id"], made["customer"]["id"], made["subscription"]["id"], "none")  # type: ignore[arg-type]
    now = await _later(town, failed, minutes=30)
    assert (await failed.recovery())["state"] == "needs_new_method"
    await town.control.own_form(failed.customer)
    await _told_all(town)
    await _recovered_at_once(failed, now)


# -- renewed under its id ----------------------------------------------------------------------------------------------

EVENTS = ["payment_method.automatically_updated", "payment_method.card_automatically_updated", "payment_method.updated"]
CURED = ["expired_card", "invalid_expiry_month", "invalid_expiry_year", "new_account_information_available"]
NOT_CURED = ["lost_card", "incorrect_number", "insufficient_funds", "do_not_honor", "fraudulent"]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("decline", [*CURED, *NOT_CURED])
async def test_a_new_number_under_the_same_id_is_tried_at_once(town: World, decline: str, event: str) -> None:
    failed = await town.fail(decline=decline)
    now = await _later(town, failed, minutes=30)
    await town.control.renew_card(failed.payment_method, number=True, events=[event])
    await _told_all(town)
    await _recovered_at_once(failed, now)


@pytest.mark.parametrize("decline", CURED)
async def test_a_later_date_is_tried_at_once_after_a_decline_that_a_date_can_cure(town: World, decline: str) -> None:
    failed = await town.fail(decline=decline)
    now = await _later(town, failed, minutes=30)
    await town.control.renew_card(failed.payment_method)
    await _told_all(town)
    await _recovered_at_once(failed, now)


@pytest.mark.parametrize("decline", NOT_CURED)
async def test_a_later_date_changes_nothing_after_a_decline_that_no_date_cures(town: World, decline: str) -> None:
    failed = await town.fail(decline=decline)
    await _later(town, failed, minutes=30)
    before = (await failed.recovery())["next_attempt_at"]
    await town.control.renew_card(failed.payment_method)
    await _told_all(town)
    assert await failed.ours() == []
    assert (await failed.recovery())["next_attempt_at"] == before


@pytest.mark.parametrize("event", ["customer.source.updated", "customer.card.updated"])
@pytest.mark.parametrize("number", [True, False], ids=["a new number", "a new date"])
async def test_a_renewed_source_is_tried_at_once(town: World, event: str, *, number: bool) -> None:
    made = await town.control.add_source_renewal(town.account, {"decline": "expired_card"})
    assert await town.control.drain()
    (row,) = await town.rows("SELECT id FROM recoveries WHERE invoice_id = $1", made["invoice"]["id"])
    source = made["payment_method"]["id"]
    failed = Failed(town, row["id"], made["invoice"]["id"], made["customer"]["id"], made["subscription"]["id"], source)
    now = await _later(town, failed, minutes=30)
    await town.control.renew_card(source, number=number, events=[event])
    await _told_all(town)
    await _recovered_at_once(failed, now)


# -- news while a run is under way -------------------------------------------------------------------------------------


async def test_a_card_that_comes_during_the_first_look_is_tried_at_once(town: World) -> None:
    failed = await town.fail(decline="expired_card")
    now = await town.value("SELECT citadel_now()")
    # The invoice was read, without the new card, and now its charges are.
    with town.stripe.door.holding("GET", "/v1/charges") as held:
        look = _running(town)
        await held.has_arrived()
        await town.control.own_form(failed.customer)
        assert await town.control.drain()
    await look
    await _told_all(town)
    await _recovered_at_once(failed, now)


async def test_a_card_that_comes_during_an_attempt_is_tried_right_after_its_decline(town: World) -> None:
    failed = await town.fail(decline="insufficient_funds", clears_in=60 * 86_400)
    await failed.attempt_due()
    now = await town.value("SELECT citadel_now()")
    with town.stripe.door.holding("POST", f"/v1/invoices/{failed.invoice}/pay") as held:
        attempt = _running(town)
        await held.has_arrived()
        brought = await town.control.own_form(failed.customer)
        assert await town.control.drain()
    await attempt
    assert "card_changed" in [each["rule"] for each in await failed.story()]
    await _told_all(town)
    await _recovered_at_once(failed, now)
    assert [each["payment_method_id"] for each in await failed.ours()] == [failed.payment_method, brought["id"]]
