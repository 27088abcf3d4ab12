"""Auth's routes.

GET  /auth/stripe             begin to connect: redirects to Stripe with a state
GET  /auth/stripe/callback    back from Stripe: the merchant is connected, or the reason why not
POST /auth/stripe/disconnect  end a merchant's connection, with an API key
"""

import functools
import re
import time
from uuid import UUID

import orjson
from aiohttp import web
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, ValidationError
from yarl import URL

from services.auth import merchants, pages, store
from services.auth.merchants import Connected, Disconnected
from services.auth.oauth import (
    COOKIE_PREFIX,
    CodeRefused,
    RoundTrip,
    StateIssuer,
    StateRefused,
    StripeAway,
    StripeConnect,
    StripeRefused,
)
from services.auth.settings import AuthSettings
from shared.api_keys import Scope, authenticate, sees
from shared.crypto import KeyRing
from shared.database import Database, DatabaseAway
from shared.http import DATABASE, Handler, Problem, fields_of, invalid, json_response, make_app
from shared.logging import get_logger
from shared.stripe_clients import StripeClientFactory

log = get_logger(__name__)

SETTINGS = web.AppKey("settings", AuthSettings)
STATES = web.AppKey("states", StateIssuer)
RING = web.AppKey("ring", KeyRing)
CONNECT = web.AppKey("connect", StripeConnect)

_MOST_COOKIES = 20
_MAX_BODY_BYTES = 16 * 1024
_CODE = re.compile(r"[A-Za-z0-9_-]{1,255}")

# https://docs.stripe.com/connect/oauth-reference#get-authorize-errors: the errors with which Stripe redirects back.
_AUTHORIZE_ERRORS = frozenset(
    {"invalid_request", "invalid_redirect_uri", "invalid_scope", "unsupported_response_type", "invalid_client"}
)

_CONNECTS = Counter("citadel_auth_connects_total", "OAuth round trips that ended, by how", ["outcome"])
_DISCONNECTS = Counter("citadel_auth_disconnects_total", "Disconnects asked for, by what Stripe said", ["outcome"])


class DisconnectBody(BaseModel):
    """What `POST /auth/stripe/disconnect` takes."""

    model_config = ConfigDict(extra="forbid")

    merchant_id: UUID


def create_app(settings: AuthSettings, database: Database, clients: StripeClientFactory) -> web.Application:
    """Auth's application over `database`, which is opened under Role.AUTH."""
    app = make_app("auth", database, max_body_bytes=_MAX_BODY_BYTES)
    app[SETTINGS] = settings
    app[STATES] = StateIssuer(settings.state_secret.get_secret_value().encode(), settings.state_ttl_seconds)
    app[RING] = settings.key_ring
    app[CONNECT] = StripeConnect(settings, clients)
    # No HEAD: the first route writes a row, and the second uses it up.
    app.router.add_get("/auth/stripe", _for_a_browser(_begin), allow_head=False)
    app.router.add_get("/auth/stripe/callback", _for_a_browser(_callback), allow_head=False)
    app.router.add_post("/auth/stripe/disconnect", _disconnect)
    app.on_response_prepare.append(_harden)
    return app


async def _harden(_request: web.Request, response: web.StreamResponse) -> None:
    """Set headers on every answer, errors too: the callback's URL holds a code, and no page may be cached or framed."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Content-Security-Policy", pages.CONTENT_SECURITY_POLICY)


def _wants_json(request: web.Request) -> bool:
    accept = request.headers.get("Accept", "").lower()
    return "application/json" in accept and "text/html" not in accept


def _for_a_browser(handler: Handler) -> Handler:
    """Show problems as a page, unless JSON is asked for."""

    @functools.wraps(handler)
    async def shown(request: web.Request) -> web.StreamResponse:
        if _wants_json(request):
            return await handler(request)
        start_url = request.app[SETTINGS].start_url
        try:
            return await handler(request)
        except Problem as problem:
            response = pages.problem_page(problem.status, problem.detail, start_url)
            response.headers.update(problem.headers)
            return response
        except DatabaseAway as error:
            log.warning("database_away", reason=str(error))
            response = pages.problem_page(503, "Something of ours is away. Try again in a moment.", start_url)
            response.headers["Retry-After"] = "2"
            return response

    return shown


# -- connect -------------------------------------------------------------------------------------


async def _begin(request: web.Request) -> web.Response:
    settings = request.app[SETTINGS]
    trip = request.app[STATES].begin(int(time.time()))
    async with request.app[DATABASE].transaction() as db:
        await store.keep_state(db, trip.nonce_hash, settings.state_ttl_seconds)
    response = web.Response(status=302, headers={"Location": request.app[CONNECT].authorize_url(trip.state)})
    _set_cookie(response, settings, trip)
    # A browser that begins many times must not collect a Cookie header that is too long to be read.
    begun = [name for name in request.cookies if name.startswith(COOKIE_PREFIX)]
    for name in begun[: max(0, len(begun) - _MOST_COOKIES)]:
        response.del_cookie(name, path=settings.cookie_path)
    return response


def _set_cookie(response: web.Response, settings: AuthSettings, trip: RoundTrip) -> None:
    response.set_cookie(
        trip.cookie,
        trip.browser,
        max_age=settings.state_ttl_seconds,
        path=settings.cookie_path,
        secure=settings.public_url.startswith("https://"),
        httponly=True,
        samesite="Lax",  # with Strict the browser would not send it when it comes back from Stripe
    )


async def _callback(request: web.Request) -> web.Response:
    """Use the state up; ask Stripe, without a database connection; connect the merchant."""
    try:
        connected = await _come_back(request)
    except _Failed as failed:
        _CONNECTS.labels(failed.type).inc()
        log.warning("not_connected", reason=failed.type, why=failed.why)
        raise
    outcome = "connected" if connected.is_new else "reconnected"
    _CONNECTS.labels(outcome).inc()
    log.info(
        "merchant_connected", outcome=outcome, merchant_id=connected.merchant_id, account=connected.stripe_connect_id
    )
    return _welcome(request, connected)


class _Failed(Problem):
    """A round trip that failed; `why` is for the log."""

    def __init__(self, status: int, type_: str, detail: str, why: str | None = None) -> None:
        headers = {"Retry-After": "5"} if status == 503 else None
        super().__init__(status, type_, detail, headers=headers)
        self.why = why


async def _come_back(request: web.Request) -> Connected:
    database, query = request.app[DATABASE], request.query
    try:
        nonce_hash = request.app[STATES].check(query.get("state"), request.cookies, int(time.time()))
        async with database.transaction() as db:
            asked_at = await store.use_state(db, nonce_hash)
        if asked_at is None:
            raise StateRefused("the state was used before")
    except StateRefused as error:
        text = "This link is too old, was used before, or was opened in another browser. Begin again."
        raise _Failed(400, "state-refused", text, str(error)) from error
    code = _code(request)
    try:
        granted = await request.app[CONNECT].exchange(code)
    except CodeRefused as error:
        text = "Stripe does not take this authorization: it is too old or was used before. Begin again."
        raise _Failed(400, "code-refused", text, str(error)) from error
    except StripeAway as error:
        raise _Failed(503, "stripe-away", "Stripe does not answer. Begin again in a moment.", str(error)) from error
    except StripeRefused as error:
        raise _misconfigured(error) from error
    # The code is used up at Stripe: the grant is saved again rather than lost with a connection that broke.
    return await database.committed_surely(lambda db: merchants.connect(db, request.app[RING], granted, asked_at))


def _misconfigured(error: StripeRefused) -> _Failed:
    text = "Stripe refuses this platform's own credentials. Its operator finds the reason in the log."
    return _Failed(502, "stripe-refused", text, str(error))


def _code(request: web.Request) -> str:
    """The authorization code in Stripe's redirect. Raises a problem when the redirect has an error."""
    error, code = request.query.get("error"), request.query.get("code", "")
    if error == "access_denied":
        raise _Failed(403, "access-denied", "You did not agree at Stripe, so nothing was connected.")
    if error is not None:
        # Anybody can write anything into this URL: only errors that Stripe documents are repeated.
        why = error if error in _AUTHORIZE_ERRORS else "an unknown error"
        raise _misconfigured(StripeRefused(f"the browser came back with {why}"))
    if not _CODE.fullmatch(code):
        raise _Failed(400, "code-refused", "Stripe's authorization is missing in this link. Begin again.")
    return code


def _welcome(request: web.Request, connected: Connected) -> web.Response:
    after = request.app[SETTINGS].after_connect_url
    if _wants_json(request):
        return json_response(
            {
                "merchant_id": connected.merchant_id,
                "stripe_connect_id": connected.stripe_connect_id,
                "livemode": connected.livemode,
                "status": "active",
                "reconnected": not connected.is_new,
            }
        )
    if after is not None:
        where = URL(str(after)).update_query(merchant=connected.merchant_id)
        return web.Response(status=302, headers={"Location": str(where)})
    return pages.connected_page(connected.stripe_connect_id)


# -- disconnect ----------------------------------------------------------------------------------


async def _disconnect(request: web.Request) -> web.Response:
    """End our work first, in any case; then tell Stripe. When that fails, the caller repeats the call."""
    done = await _end_our_side(request)
    try:
        told = await request.app[CONNECT].deauthorize(done.stripe_connect_id)
    except StripeAway as error:
        raise _half_done(503, "stripe-away", "Stripe did not answer", done, str(error)) from error
    except StripeRefused as error:
        raise _half_done(502, "stripe-refused", "Stripe refuses this platform", done, str(error)) from error
    outcome = "deauthorized" if told else "was_not_connected"
    _log_disconnected(done, outcome)
    return json_response(
        {
            "merchant_id": done.merchant_id,
            "stripe_connect_id": done.stripe_connect_id,
            "status": done.status,
            "stripe": outcome,
            "recoveries_stopped": done.recoveries_stopped,
            "tasks_canceled": done.tasks_canceled,
        }
    )


async def _end_our_side(request: web.Request) -> Disconnected:
    body = await request.read()  # before a connection is taken: a client may be slow
    async with request.app[DATABASE].transaction() as db:
        key = await authenticate(db, request, Scope.MERCHANTS_WRITE)
        asked = _parse(body).merchant_id
        done = await merchants.disconnect(db, asked) if sees(key, asked) else None
    if done is None:
        raise Problem(404, "not-found", "There is no such merchant.")
    return done


def _parse(body: bytes) -> DisconnectBody:
    try:
        return DisconnectBody.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise Problem(400, "not-json", "The body is not JSON.") from None
    except ValidationError as error:
        raise invalid(422, "invalid-body", fields_of(error), 'Expected {"merchant_id": "<uuid>"}.') from None


def _half_done(status: int, type_: str, what: str, done: Disconnected, why: str) -> Problem:
    _log_disconnected(done, type_, why)
    text = (
        f"{what}. All work for this merchant has ended here and its tokens are wiped, but its account may still list "
        "this platform as connected. Repeat the call."
    )
    return Problem(status, type_, text, headers={"Retry-After": "5"} if status == 503 else None)


def _log_disconnected(done: Disconnected, stripe_said: str, why: str | None = None) -> None:
    _DISCONNECTS.labels(stripe_said).inc()
    log.info(
        "merchant_disconnected",
        merchant_id=done.merchant_id,
        account=done.stripe_connect_id,
        stripe=stripe_said,
        why=why,
        recoveries_stopped=done.recoveries_stopped,
        tasks_canceled=done.tasks_canceled,
    )
