"""`POST /webhooks/stripe`: from raw bytes to a committed event.

413  longer than `max_event_bytes`
400  the signature is missing, wrong or too old; or it is right and the body is not an event
503  the database is away or too busy: nothing is lost, Stripe sends it again
200  committed, now or before
"""

import time
from collections.abc import AsyncIterator, Sequence

import orjson
from aiohttp import web
from prometheus_client import Counter
from pydantic import ValidationError

from services.ingress.batcher import IntakeBusy, Limits
from services.ingress.intake import Intake
from services.ingress.mail.routes import add_mail_routes
from services.ingress.settings import IngressSettings
from services.ingress.signature import verified
from shared.database import Database
from shared.events.incoming import Incoming, read_event
from shared.events.routing import LEFT_ALONE, ROUTES
from shared.events.taking import Accepted
from shared.http import Problem, fields_of, invalid, json_response, make_app
from shared.logging import bound, get_logger

log = get_logger(__name__)

SETTINGS = web.AppKey("settings", IngressSettings)
INTAKE = web.AppKey("intake", Intake)

_EVENTS = Counter("citadel_ingress_events_total", "Events taken in", ["type", "outcome"])
_REFUSED = Counter("citadel_ingress_refused_total", "Requests that were no event of ours", ["reason"])


def create_app(settings: IngressSettings, database: Database) -> web.Application:
    """The ingress's application."""
    app = make_app("ingress", database, max_body_bytes=settings.max_event_bytes)
    app[SETTINGS] = settings
    limits = Limits(backlog=settings.intake_backlog)
    intake = app[INTAKE] = Intake(database, limits)

    async def intake_runs(_app: web.Application) -> AsyncIterator[None]:
        async with intake.running():
            yield

    app.cleanup_ctx.append(intake_runs)
    app.router.add_post("/webhooks/stripe", _receive)
    add_mail_routes(app, settings)
    return app


async def _receive(request: web.Request) -> web.Response:
    settings = request.app[SETTINGS]
    body = await _read(request, settings.max_event_bytes)
    _verify(body, request.headers.get("Stripe-Signature"), settings)
    event = _parse(body)
    with bound(event_id=event.event_id):
        try:
            accepted = await request.app[INTAKE].accept(event)
        except IntakeBusy as error:
            log.warning("intake_busy", reason=str(error))
            detail = "The event could not be committed in time. Try again."
            raise Problem(503, "busy", detail, headers={"Retry-After": "1"}) from error
        _tell(event, accepted)
    return json_response({"received": True, "duplicate": True} if accepted.duplicate else {"received": True})


def _refuse(status: int, type_: str, detail: str, fields: Sequence[tuple[str, str]] = ()) -> Problem:
    _REFUSED.labels(type_).inc()
    log.warning("event_refused", reason=type_)
    return invalid(status, type_, fields, detail) if fields else Problem(status, type_, detail)


async def _read(request: web.Request, limit: int) -> bytes:
    """The raw body. Refused unread when declared too long; cut off when it grows too long."""
    try:
        if request.content_length is not None and request.content_length > limit:
            raise web.HTTPRequestEntityTooLarge(limit)
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _refuse(413, "too-large", f"An event has at most {limit} bytes.") from None
    except (ConnectionError, web.RequestPayloadError):
        raise _refuse(400, "incomplete-body", "The body ended before its end.") from None


def _verify(body: bytes, header: str | None, settings: IngressSettings) -> None:
    """Refuse a body that none of the secrets has signed within the tolerance, in real time, by which Stripe signs."""
    if verified(body, header, settings.signing_secrets, time.time(), settings.webhook_tolerance_seconds):
        return
    detail = (
        "The Stripe-Signature header is missing, older than "
        f"{settings.webhook_tolerance_seconds} s, or made with none of this endpoint's secrets."
    )
    raise _refuse(400, "bad-signature", detail)


def _parse(body: bytes) -> Incoming:
    """The event without its payload."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _refuse(400, "not-json", "The body is not JSON.") from None
    if not isinstance(event, dict):
        raise _refuse(400, "not-an-event", "An event is a JSON object.")
    try:
        return read_event(event)
    except ValidationError as error:
        raise _refuse(400, "not-an-event", "An event has an id and a type.", fields_of(error)) from None


def _tell(event: Incoming, accepted: Accepted) -> None:
    known = event.event_type in ROUTES or event.event_type in LEFT_ALONE
    outcome = "duplicate" if accepted.duplicate else accepted.outcome.value
    _EVENTS.labels(event.event_type if known else "other", outcome).inc()
    with bound(merchant_id=accepted.merchant_id):
        log.info("event_accepted", type=event.event_type, outcome=outcome, why=accepted.why)
