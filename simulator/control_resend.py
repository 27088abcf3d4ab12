"""The control API of emails: the outbox, and what became of what is in it."""

from dataclasses import asdict

from simulator.control import CONTROL, Ask
from simulator.errors import missing
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
