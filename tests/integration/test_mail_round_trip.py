"""An email's whole way: written by the worker, read by a customer, answered to the ingress, obeyed by the worker."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from services.worker.dossier.story import NEWS
from services.worker.handler import AnyHandler
from services.worker.handlers import discover
from services.worker.handlers.notify_action_required import Write
from services.worker.messages.delivery import NotSent, Told
from services.worker.outside.lease import Lease
from shared import recoveries, recovery_stops
from shared.database import Database, Role
from shared.queue import tasks
from shared.recovery_model import EndReason, Entry, EntryKind
from shared.silences import SilenceReason
from tests.conftest import OpenDatabase
from tests.integration.ingress.world import RESEND_SECRETS, SECRETS, UNSUBSCRIBE_SECRET, client_for
from tests.integration.worker.world import World, worker_world


@dataclass
class Street:
    """The worker's world, and the ingress that customers and Resend reach."""

    world: World
    ingress: str

    async def emails(self) -> list[dict[str, Any]]:
        return [each["message"] for each in await self.world.control.outbox()]

    async def silenced(self) -> list[tuple[str, str]]:
        rows = await self.world.rows("SELECT customer_id, reason FROM silenced_customers")
        return [tuple(row) for row in rows]


@pytest.fixture
async def street(open_database: OpenDatabase, database: Database) -> AsyncIterator[Street]:
    async with open_database(Role.INGRESS) as opened, client_for(opened) as client:
        ingress = str(client.make_url("")).rstrip("/")
        answered = {"unsubscribe_url": ingress, "unsubscribe_secrets": SecretStr(UNSUBSCRIBE_SECRET)}
        shop = {"support_email": "help@fjord.example", "name": "Fjord"}
        async with worker_world(database, open_database, shop, **answered) as world:
            url = f"{ingress}/webhooks/resend"
            await world.control.configure_resend_webhooks(url=url, secret=RESEND_SECRETS[0])
            yield Street(world, ingress)


async def test_one_click_in_a_mail_program_ends_the_messages(street: Street) -> None:
    world = street.world
    failed = await world.fail(decline="lost_card")
    await world.work()
    (message,) = await street.emails()
    assert message["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    (address,) = re.findall(r"<(.+)>", message["headers"]["List-Unsubscribe"])
    assert address in message["html"]
    assert address in message["text"]
    customer = await world.control.object(failed.customer)
    assert not [each for each in (customer["email"], customer["name"]) if each in address]
    async with (
        aiohttp.ClientSession() as mail_program,
        mail_program.post(address, data={"List-Unsubscribe": "One-Click"}) as answer,
    ):
        assert answer.status == 200
    await world.pass_time(days=20)
    await world.work()
    assert len(await street.emails()) == 1
    assert await street.silenced() == [(failed.customer, "opted_out")]
    assert (await failed.recovery())["state"] == "needs_new_method"


async def test_a_hard_bounce_ends_the_messages_of_every_recovery_of_the_customer(street: Street) -> None:
    world = street.world
    failed = await world.fail(decline="lost_card")
    await world.work()
    (sent,) = await world.control.outbox()
    told = await world.control.email_event(sent["id"], "email.bounced")
    again = await world.control.email_event(sent["id"], "email.bounced", id=told["id"])
    assert (told["status"], again["status"]) == (200, 200)
    await world.execute("UPDATE recoveries SET customer_id = $1", failed.customer)
    other = await world.fail(decline="lost_card")
    await world.execute("UPDATE recoveries SET customer_id = $1 WHERE id = $2", failed.customer, other.recovery_id)
    await world.work()
    await world.pass_time(days=4)
    await world.work()
    assert len(await street.emails()) == 1
    assert [row["rule"] for row in await failed.story("silenced", "not_messaged")] == ["bounced"]
    assert [row["rule"] for row in await other.story("silenced", "not_messaged")] == ["bounced"]


async def test_a_full_mailbox_gets_the_next_message(street: Street) -> None:
    world = street.world
    failed = await world.fail(decline="lost_card")
    await world.work()
    (sent,) = await world.control.outbox()
    await world.control.email_event(sent["id"], "email.bounced", type="Transient")
    await world.pass_time(days=4)
    await world.work()
    assert len(await street.emails()) == 2
    assert [row["rule"] for row in await failed.story("undelivered")] == ["bounced_for_now"]


async def _decide(world: World) -> tuple[AnyHandler, Any]:
    """Claim the message that is due and decide on it; nothing has been sent yet."""
    handler = discover()["notify_action_required"]
    async with world.worker.transaction() as db:
        claimed = await tasks.claim(db, "slow", 10, timedelta(seconds=30))
        (task,) = [each for each in claimed if each.task_type == "notify_action_required"]
        return handler, await handler.load(db, handler.understand(task))


async def test_who_opts_out_while_the_message_is_being_written_does_not_get_it(street: Street) -> None:
    """After the decision, before the email: the last question that is asked on the way out."""
    world = street.world
    failed = await world.fail(decline="lost_card")
    await world.work()
    await world.pass_time(days=3, minutes=1)
    handler, plan = await _decide(world)
    assert isinstance(plan, Write)
    await world.execute(
        "INSERT INTO silenced_customers (merchant_id, customer_id, reason) VALUES ($1, $2, 'opted_out')",
        world.merchant_id,
        failed.customer,
    )
    outcome = await handler.perform(world.outside.remote(Lease(timedelta(seconds=30))), plan)
    assert outcome is SilenceReason.OPTED_OUT
    assert len(await street.emails()) == 1


async def test_a_recovery_that_is_stopped_while_its_message_is_being_written_sends_none(street: Street) -> None:
    world = street.world
    failed = await world.fail(decline="lost_card")
    await world.work()
    await world.pass_time(days=3, minutes=1)
    handler, plan = await _decide(world)
    async with world.worker.transaction() as db:
        await recovery_stops.request_stop(
            db, failed.recovery_id, EndReason.VOIDED, Entry(EntryKind.CLOSED, "voided", "Voided.")
        )
    outcome = await handler.perform(world.outside.remote(Lease(timedelta(seconds=30))), plan)
    assert outcome.told == Told(left_out={failed.recovery_id: NotSent("stopped")})
    assert len(await street.emails()) == 1


@pytest.mark.parametrize("rule", sorted(NEWS))
async def test_what_happens_while_a_message_is_being_written_is_looked_at_first(street: Street, rule: str) -> None:
    """A payment above all: the invoice was read before it. The event's transaction began before the plan's and waited
    for the recovery's lock, so that its entry has the older time."""
    world = street.world
    failed = await world.fail(decline="lost_card")
    await world.work()
    await world.pass_time(days=3, minutes=1)
    async with world.worker.transaction() as db:
        await db.execute("SELECT 1")
        handler, plan = await _decide(world)
        await recoveries.record(db, failed.recovery_id, Entry(EntryKind.CHANGED, rule, "Something happened."))
    outcome = await handler.perform(world.outside.remote(Lease(timedelta(seconds=30))), plan)
    assert outcome.told == Told(left_out={failed.recovery_id: NotSent("news", look=True)})
    assert len(await street.emails()) == 1


async def test_who_opts_out_after_the_message_was_queued_is_not_written_to(street: Street) -> None:
    world = street.world
    failed = await world.fail(decline="lost_card")
    await world.work()
    await world.pass_time(days=3, minutes=1)
    await world.execute(
        "INSERT INTO silenced_customers (merchant_id, customer_id, reason) VALUES ($1, $2, 'opted_out')",
        world.merchant_id,
        failed.customer,
    )
    assert len(await failed.tasks("pending", "notify_action_required")) == 1
    await world.work()
    assert len(await street.emails()) == 1
    assert [row["rule"] for row in await failed.story("not_messaged")] == ["opted_out"]


async def test_a_renewal_ahead_reaches_its_customer_through_stripe_s_event(street: Street) -> None:
    """From Stripe's preview of the renewal to the email about the card, through both services."""
    world = street.world
    await world.control.change_account(world.account, upcoming_days=10)
    await world.control.configure_webhooks(url=f"{street.ingress}/webhooks/stripe", secret=SECRETS[0])
    made = await world.control.add_customer(world.account, card={"exp_month": 9, "exp_year": 2026, "last4": "4242"})
    await world.control.add_subscription(world.account, made["customer"]["id"], renews_in=30 * 86_400)
    await world.pass_time(days=19, hours=23)
    assert await world.control.drain()
    assert await world.work() == 0
    await world.pass_time(hours=1, seconds=1)
    assert await world.control.drain()
    assert await world.work() == 1
    (message,) = await street.emails()
    assert message["subject"] == "Your card for Fjord expires soon"
    assert {tag["name"] for tag in message["tags"]} == {"kind", "message", "merchant", "customer"}


async def test_an_email_is_from_the_merchant_and_answers_go_there(street: Street) -> None:
    world = street.world
    await world.fail(decline="insufficient_funds")
    await world.work()
    (message,) = await street.emails()
    assert message["from"] == '"Fjord" <billing@example.com>'
    assert message["reply_to"] == ["help@fjord.example"]
    assert "Fjord" in message["subject"]


async def test_tags_are_ids_and_nothing_else(street: Street) -> None:
    world = street.world
    failed = await world.fail(decline="insufficient_funds")
    await world.work()
    (message,) = await street.emails()
    tags = {tag["name"]: tag["value"] for tag in message["tags"]}
    (task,) = await failed.tasks("succeeded", "notify_action_required")
    assert tags == {
        "kind": "payment_failed",
        "message": str(task["public_id"]),
        "recovery": str(failed.recovery_id),
        "merchant": world.merchant_id,
        "customer": failed.customer,
    }
