"""Every request that a handler sends to Stripe and Resend is one that their documents allow.

The simulator checks each request against Stripe's OpenAPI document and refuses what is not in it; here every handler
is driven down every road that sends something, and the log of requests is read.
"""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from services.worker.handlers import discover
from services.worker.learning.schedule import next_task
from services.worker.outside.lease import Lease
from shared import recoveries, recovery_stops, recovery_tasks
from shared.clock import business_now
from shared.queue import tasks
from shared.queue.tasks import NewTask
from shared.recovery_model import EndReason, Entry, EntryKind
from shared.stripe_clients import API_VERSION
from tests.integration.worker.world import World

BRAND, CARD_PAGE = "GET /v1/account", "POST /v1/billing_portal/sessions"
READ = "GET /v1/invoices/:id"
INVOICES = "GET /v1/invoices"
CHARGES = "GET /v1/charges"
PAY = "POST /v1/invoices/:id/pay"
SPEND = "POST /v1/invoices/:id"
EVENTS = "GET /v1/events"
METHODS = "GET /v1/customers/:id/payment_methods"
WRITE_OFF = "POST /v1/invoices/:id/mark_uncollectible"


async def _recovers(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=2)
    await failed.finish()


async def _settles_by_reading(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await world.control.add_fault("server_error", method="POST", path="*/pay", times=1, after_effect=True)
    await failed.finish()


async def _spends_a_key(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await world.execute("UPDATE scheduled_tasks SET status = 'canceled' WHERE task_type = 'notify_action_required'")
    handler = discover()["dunning_retry"]
    async with world.worker.transaction() as db:
        (task,) = await tasks.claim(db, "doomed", 1, timedelta(0))
        await handler.load(db, handler.understand(task))
    async with world.worker.transaction() as db:
        await recovery_stops.request_stop(
            db, failed.recovery_id, EndReason.DISPUTED, Entry(EntryKind.STOP_REQUESTED, "t", "t")
        )
        await tasks.rescue(db)
    await world.pass_time(minutes=5)
    await world.work()


async def _writes(world: World) -> None:
    for card in ({"decline": "lost_card"}, {"needs_3ds": True}, {"decline": "insufficient_funds"}):
        await world.fail(**card)
    await world.work()


async def _thanks(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.finish()
    await world.pass_time(days=2)
    await world.work()


async def _warns(world: World) -> None:
    made = await world.control.add_customer(world.account, card={"exp_month": 9, "exp_year": 2026})
    customer = made["customer"]["id"]
    subscription = await world.control.add_subscription(world.account, customer, renews_in=25 * 86_400)
    await world.execute("UPDATE policies SET document = jsonb_set(document, '{card_expiring_days}', '30') WHERE active")
    payload = {"customer_id": customer, "subscription_id": subscription["id"]}
    async with world.worker.transaction() as db:
        await tasks.enqueue(db, NewTask(world.merchant_id, "warn_card_expiring", payload))
    await world.work()


async def _follows_a_silence(world: World) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    await world.pass_time(days=4)
    payload = {"customer_id": failed.customer, "change": "lifted"}
    async with world.worker.transaction() as db:
        await tasks.enqueue(db, NewTask(world.merchant_id, "follow_silence", payload))
    await world.work()


async def _reports(world: World) -> None:
    payload = {
        "usage_id": "3f6c1de2-27a3-4a44-9d52-0f3f6a3f9b11",
        "event_name": "api_requests",
        "customer_id": "cus_1",
        "value": 7,
        "timestamp": world.simulation.world.clock.now,
    }
    async with world.worker.transaction() as db:
        await tasks.enqueue(db, NewTask(world.merchant_id, "report_usage", payload))
    await world.work()


async def _digests(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.finish()
    await world.pass_time(days=1)
    async with world.worker.transaction() as db:
        await tasks.enqueue(db, NewTask(world.merchant_id, "send_weekly_digest"))
    await world.work()


def _ends(action: str) -> "Drive":
    async def drive(world: World) -> None:
        await world.policy(end_action=action, window_days=2, message_days=[])
        failed = await world.fail(decline="lost_card")
        await failed.finish()
        await world.work()

    return drive


async def _ends_below_a_newer_invoice(world: World) -> None:
    await world.policy(end_action="cancel", window_days=2, message_days=[])
    failed = await world.fail(decline="lost_card")
    await world.control.set_script(failed.payment_method)
    await world.control.add_invoice(failed.subscription, "subscription_cycle")
    await failed.finish()
    await world.work()


async def _tries_a_backup(world: World) -> None:
    await world.policy(backup_methods=True)
    failed = await world.fail(decline="lost_card")
    await world.control.add_card(failed.customer, default=False)
    await failed.finish()


async def _charges_what_was_attached(world: World) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    brought = await world.control.add_card(failed.customer, default=False)
    async with world.worker.transaction() as db:
        await recoveries.bring(db, failed.recovery_id, brought["id"], in_answer=True)
        await recovery_tasks.evaluate_sooner(db, failed.recovery_id)
    await failed.finish()


async def _charges_a_source(world: World) -> None:
    failed = await world.fail(decline="lost_card")
    await world.control.change_default(failed.customer, None)
    await world.control.add_source(failed.customer)
    await failed.finish()


async def _catches_up(world: World) -> None:
    await world.policy(message_days=[])
    await world.control.add_renewal(world.account, card={"decline": "do_not_honor"})
    await world.pass_time(hours=1)
    await world.execute(
        "INSERT INTO catch_ups (merchant_id, events_until) VALUES ($1, citadel_now() - interval '1 hour')",
        world.merchant_id,
    )
    async with world.worker.transaction() as db:
        await tasks.enqueue(db, NewTask(world.merchant_id, "catch_up"))
    await world.work()


async def _learns(world: World) -> None:
    """It asks nobody; a payment beside it does."""
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.finish()
    async with world.worker.transaction() as db:
        now = await business_now(db)
        await tasks.enqueue(db, next_task(world.merchant_id, now, now))
    await world.work()


Drive = Callable[[World], Awaitable[None]]
ROADS: dict[str, tuple[Drive, set[str]]] = {
    "dunning_retry": (_recovers, {READ, CHARGES, PAY, BRAND}),
    "dunning_retry, settled by reading": (_settles_by_reading, {READ, CHARGES, PAY, EVENTS, BRAND}),
    "dunning_retry, stopped after a crash": (_spends_a_key, {READ, CHARGES, SPEND, BRAND}),
    "dunning_retry, with a backup card": (_tries_a_backup, {READ, CHARGES, PAY, METHODS}),
    "dunning_retry, with a card in answer": (
        _charges_what_was_attached,
        {READ, CHARGES, PAY, METHODS, BRAND, CARD_PAGE},
    ),
    "dunning_retry, with a source": (_charges_a_source, {READ, CHARGES, PAY}),
    "end_dunning": (_ends("cancel"), {READ, CHARGES, INVOICES, BRAND, "DELETE /v1/subscriptions/:id"}),
    "end_dunning, below a newer invoice": (_ends_below_a_newer_invoice, {READ, CHARGES, INVOICES}),
    "tell_ended": (_ends("pause"), {READ, CHARGES, INVOICES, BRAND, "POST /v1/subscriptions/:id"}),
    "tell_merchant_ended": (_ends("mark_uncollectible"), {READ, CHARGES, INVOICES, BRAND, WRITE_OFF}),
    "follow_silence": (_follows_a_silence, {READ, CHARGES, BRAND, CARD_PAGE}),
    "notify_action_required": (_writes, {READ, CHARGES, BRAND, CARD_PAGE}),
    "thank_customer": (_thanks, {READ, CHARGES, PAY, BRAND}),
    "warn_card_expiring": (_warns, {"GET /v1/subscriptions/:id", BRAND, CARD_PAGE}),
    "catch_up": (_catches_up, {INVOICES, READ, EVENTS, CHARGES}),
    "learn_belief": (_learns, {READ, CHARGES, PAY, BRAND}),
    "report_usage": (_reports, {"POST /v1/billing/meter_events"}),
    "send_weekly_digest": (_digests, {READ, CHARGES, PAY, BRAND}),
}


def _shape(request: dict[str, Any]) -> str:
    return f"{request['method']} {re.sub(r'/(in|ch|pi|cus|sub)_[A-Za-z0-9]+', '/:id', request['path'])}"


@pytest.mark.parametrize("name", ROADS)
async def test_every_request_is_one_that_stripe_s_document_allows(world: World, name: str) -> None:
    drive, expected = ROADS[name]
    await drive(world)
    requests = await world.control.requests(path="/v1/")
    refused = [each for each in requests if 400 <= each["status"] < 500 and each["status"] != 402]
    assert [(_shape(each), each["status"]) for each in refused] == []
    assert {_shape(each) for each in requests} == expected


@pytest.mark.parametrize("name", ROADS)
async def test_every_request_names_its_account_its_version_and_a_key_if_it_changes_something(
    world: World, name: str
) -> None:
    await ROADS[name][0](world)
    requests = await world.control.requests(path="/v1/")
    assert {each["account"] for each in requests} == {world.account}
    assert {each["version"] for each in requests} == {API_VERSION}
    keys = [each["idempotency_key"] for each in requests if each["method"] == "POST"]
    assert all(keys)


async def test_every_task_type_is_driven() -> None:
    assert {name.split(",")[0] for name in ROADS} == set(discover())


async def test_the_simulator_refuses_what_is_not_in_the_document(world: World) -> None:
    """What makes the tests above worth something."""
    client = world.outside.stripe.for_merchant(world.account)
    failed = await world.fail(decline="do_not_honor")
    misspelled: Any = {"misspelled": True}
    with pytest.raises(Exception, match="unknown parameter"):
        await client.v1.invoices.pay_async(failed.invoice, misspelled)
    remote = world.outside.remote(Lease(timedelta(seconds=5)))
    assert remote.lease.held
