"""The control API of emails: the outbox, and what became of what is in it."""

from dataclasses import asdict

from simulator.control import CONTROL, Ask
from simulator.errors import missing
from simulator.resend_limits import Limits
from simulator.resend_webhooks import ResendWebhookPlan
from simulator.shapes import Json


@CONTROL.route("GET", "/outbox")
async def outbox(ask: Ask) -> list[Json]:
    return [asdict(found) for found in ask.sim.resend.outbox.values()]


@CONTROL.route("POST", "/resend_webhooks")
async def configure_resend_webhooks(ask: Ask) -> Json:
    """Where events about emails go; what is not given stays as it is."""
    ask.sim.resend_webhooks.plan = ResendWebhookPlan(**{**asdict(ask.sim.resend_webhooks.plan), **ask.given})
    return asdict(ask.sim.resend_webhooks.plan)


@CONTROL.route("POST", "/outbox/{email}/events")
async def email_event(ask: Ask) -> Json:
    """Tells the receiver what became of an email: `kind`; `id` to repeat an event; `type` of a bounce."""
    if ask.path["email"] not in ask.sim.resend.outbox:
        raise missing("email", ask.path["email"])
    kind, message_id = ask.given.pop("kind"), ask.given.pop("id", None)
    email = ask.sim.resend.outbox[ask.path["email"]]
    return await ask.sim.resend_webhooks.post(email, kind, message_id=message_id, **ask.given)


@CONTROL.route("POST", "/resend_limits")
async def set_limits(ask: Ask) -> Json:
    """`rate` requests a second of real time, `daily_quota` emails a simulated day; what is not given stays."""
    gate = ask.sim.resend.gate
    gate.limits = Limits(**{**asdict(gate.limits), **ask.given})
    return asdict(gate.limits)


@CONTROL.route("POST", "/mailboxes")
async def set_mailbox(ask: Ask) -> Json:
    """What becomes of emails to `address`: `outcome` delivers, bounces (and is suppressed then), complains, delays."""
    ask.sim.resend.mailboxes.set(ask.given["address"], ask.given["outcome"])
    return ask.given


@CONTROL.route("POST", "/outbox/deliver")
async def deliver(ask: Ask) -> list[Json]:
    """Tells the receiver of Resend's webhooks what became of each email that it was not told of: `email`, `type`, …"""
    told = []
    for email, kind in ask.sim.resend.undelivered():
        told.append({"email": email.id, "type": kind, **await ask.sim.resend_webhooks.post(email, kind)})
    return told
