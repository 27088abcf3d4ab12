"""`POST /webhooks/resend`: an event about an email, from raw bytes to a committed effect.

404  no secret is set, so the route is missing             400  the signature or the body is not Resend's
413  longer than any event about one email                 503  the database is away or too busy; Resend repeats
200  committed, now or before; or without effect

Resend's events contain addresses. The model that they are parsed into has no field for an address.
"""

import time
from typing import Annotated, Any, assert_never
from uuid import UUID

import orjson
from aiohttp import web
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from services.ingress.mail import store, svix
from services.ingress.mail.silencing import silence, tell_undelivered
from services.ingress.settings import IngressSettings
from shared.database import Connection
from shared.http import DATABASE, Problem, json_response
from shared.ids import CustomerId, MerchantId, RecoveryId
from shared.logging import bound, get_logger
from shared.silences import SilenceReason

log = get_logger(__name__)

MAX_BYTES = 64 * 1024
SETTINGS = web.AppKey("mail_settings", IngressSettings)

_EVENTS = Counter("citadel_mail_events_total", "Events about emails taken in", ["type", "outcome"])
_REFUSED = Counter("citadel_mail_refused_total", "Requests that were no event about an email", ["reason"])


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Bounce(_Part):
    """Why an email bounced. Only the type is kept, because other fields quote the address."""

    type: str | None = None


class Tags(_Part):
    """The tags that our email was sent with: ids."""

    merchant: UUID
    customer: Annotated[CustomerId, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
    recovery: RecoveryId | None = None


class About(_Part):
    """The email that an event is about."""

    email_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,80}$")] | None = None
    tags: Any = None
    bounce: Bounce | None = None


class Event(_Part):
    """An event about an email (https://resend.com/docs/webhooks/event-types)."""

    type: Annotated[str, StringConstraints(pattern=r"^[a-z._]{1,80}$")]
    data: About


class Undelivered:
    """An email did not arrive, but another one to the same address may."""


def tags_of(event: Event) -> Tags | None:
    """The ids in our emails' tags; None for an email that somebody else sent through the same account.

    Resend documents a list of names and values, and its examples show a mapping.
    """
    tags = event.data.tags
    if isinstance(tags, list):
        pairs = [each for each in tags if isinstance(each, dict)]
        tags = {each["name"]: each.get("value") for each in pairs if isinstance(each.get("name"), str)}
    try:
        return Tags.model_validate(tags)
    except ValidationError:
        return None


Consequence = SilenceReason | Undelivered | None


def consequence(event: Event) -> Consequence:
    """The effect of an event; most have none.

    A bounce is final unless Resend says that it is `Transient` (a full mailbox) or `Undetermined`.
    """
    match event.type:
        case "email.complained":
            return SilenceReason.COMPLAINED
        case "email.suppressed":
            return SilenceReason.BOUNCED
        case "email.bounced":
            kind = event.data.bounce.type if event.data.bounce else None
            return Undelivered() if kind in {"Transient", "Undetermined"} else SilenceReason.BOUNCED
        case _:
            return None


def add_webhook_routes(app: web.Application, settings: IngressSettings) -> None:
    """Take Resend's events, if there is a secret to check them with."""
    if settings.resend_webhook_keys:
        app[SETTINGS] = settings
        app.router.add_post("/webhooks/resend", _receive)


def _refuse(status: int, type_: str, detail: str) -> Problem:
    _REFUSED.labels(type_).inc()
    log.warning("mail_event_refused", reason=type_)
    return Problem(status, type_, detail)


async def _receive(request: web.Request) -> web.Response:
    settings = request.app[SETTINGS]
    body = await _read(request)
    try:
        message_id = svix.verify(
            body,
            request.headers,
            settings.resend_webhook_keys,
            now=time.time(),
            tolerance_seconds=settings.webhook_tolerance_seconds,
        )
    except svix.BadSignature as error:
        raise _refuse(400, "bad-signature", f"The message is not Resend's: {error}.") from None
    try:
        event = Event.model_validate(orjson.loads(body))
    except (orjson.JSONDecodeError, ValidationError):
        raise _refuse(400, "not-an-event", "The body is not an event about an email.") from None
    with bound(event_id=message_id):
        outcome = await _take(request, message_id, event)
        _EVENTS.labels(event.type if consequence(event) is not None else "other", outcome).inc()
        log.info("mail_event_accepted", type=event.type, outcome=outcome)
    return json_response({"received": True, "outcome": outcome})


async def _read(request: web.Request) -> bytes:
    """The raw body. Refused unread when declared too long; cut off when it grows longer than the service reads."""
    try:
        if request.content_length is not None and request.content_length > MAX_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BYTES)
        body = await request.read()
        if len(body) > MAX_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BYTES)
    except web.HTTPRequestEntityTooLarge:
        raise _refuse(413, "too-large", f"An event about an email has at most {MAX_BYTES} bytes.") from None
    except (ConnectionError, web.RequestPayloadError):
        raise _refuse(400, "incomplete-body", "The body ended before its end.") from None
    return body


async def _take(request: web.Request, message_id: str, event: Event) -> str:
    """Take the event; its outcome: `silenced`, `told`, `duplicate` or `ignored`."""
    follows, tags = consequence(event), tags_of(event)
    if follows is None or tags is None:
        return "ignored"
    merchant_id, customer_id = MerchantId(str(tags.merchant)), tags.customer
    origin = {"event_id": message_id, "event_type": event.type, "email_id": event.data.email_id}

    async def work(db: Connection) -> str:
        if not await store.record_message(db, message_id, event.type, merchant_id, event.data.email_id, "routed"):
            return "duplicate"
        match follows:
            case SilenceReason():
                return "silenced" if await silence(db, merchant_id, customer_id, follows, origin) else "duplicate"
            case Undelivered():
                if tags.recovery is not None:
                    await tell_undelivered(db, merchant_id, tags.recovery, origin)
                return "told"
            case _:
                assert_never(follows)

    return await request.app[DATABASE].committed(work)
