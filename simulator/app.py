"""The aiohttp application: Stripe under `/v1` and `/oauth`, Resend under `/emails`, ours under `/_sim`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from simulator.api import Answer, Request, StripeApi
from simulator.controls import CONTROL, Ask
from simulator.errors import ApiError
from simulator.faults import Fault
from simulator.oauth import OAuthError
from simulator.resend_limits import ResendError, too_many
from simulator.shapes import Json
from simulator.simulation import PLATFORM, Simulator

SIMULATOR: web.AppKey[Simulator] = web.AppKey("simulator", Simulator)
STRIPE: web.AppKey[StripeApi] = web.AppKey("stripe", StripeApi)
JSON = "application/json"


def make_app(simulator: Simulator) -> web.Application:
    """The application that serves one simulation; its clean-up ends the sending of webhooks."""
    app = web.Application(client_max_size=4 * 1024**2)
    app[SIMULATOR] = simulator
    app[STRIPE] = StripeApi(simulator)
    app.router.add_route("*", "/v1/{rest:.*}", _stripe)
    app.router.add_get("/v2/core/events/{event}", _thin_event)
    app.router.add_get("/oauth/authorize", _authorize)
    app.router.add_post("/oauth/token", _token)
    app.router.add_post("/oauth/deauthorize", _deauthorize)
    app.router.add_post("/emails", _email)
    app.router.add_route("*", "/_sim/{rest:.*}", _control)
    app.cleanup_ctx.append(_sending)
    return app


@asynccontextmanager
async def serve(simulator: Simulator, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serves a simulation while the block runs; gives its base url."""
    runner = web.AppRunner(make_app(simulator), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        yield f"http://{host}:{bound}"
    finally:
        await runner.cleanup()


async def _sending(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[SIMULATOR].webhooks.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


# -- Stripe --------------------------------------------------------------------------------------


async def _stripe(request: web.Request) -> web.StreamResponse:
    text = request.query_string
    if request.method == "POST":
        body = (await request.read()).decode("utf-8", "replace")
        text = body if not text else f"{text}&{body}"
    headers = request.headers
    answer = await request.app[STRIPE].answer(
        Request(
            method=request.method,
            path=request.path,
            text=text,
            authorization=headers.get("Authorization"),
            account=headers.get("Stripe-Account"),
            key=headers.get("Idempotency-Key"),
            version=headers.get("Stripe-Version"),
        )
    )
    return await _sent(request, answer)


async def _thin_event(request: web.Request) -> web.StreamResponse:
    headers = request.headers
    asked = Request(
        method=request.method,
        path=request.path,
        text=request.query_string,
        authorization=headers.get("Authorization"),
        account=headers.get("Stripe-Context", headers.get("Stripe-Account")),
        version=headers.get("Stripe-Version"),
    )
    return await _sent(request, request.app[STRIPE].thin_event(asked, request.match_info["event"]))


async def _sent(request: web.Request, answer: Answer) -> web.StreamResponse:
    """The answer on its way out, or what a fault leaves of it."""
    fault = answer.fault
    if fault is None or fault.kind not in {"timeout", "drop", "truncate"}:
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers, content_type=JSON)
    if fault.kind == "truncate":
        return await _cut(request, answer)
    return await _lost(request, fault)


async def _lost(request: web.Request, fault: Fault) -> web.StreamResponse:
    """No answer at all: the connection closes, at once or after the client has waited."""
    if fault.kind == "timeout":
        await asyncio.sleep(fault.seconds)
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _cut(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Headers that promise the whole body, half of it, and a closed connection."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = JSON
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


# -- OAuth ---------------------------------------------------------------------------------------


async def _authorize(request: web.Request) -> web.StreamResponse:
    try:
        where = request.app[SIMULATOR].oauth.authorize(dict(request.query))
    except OAuthError as problem:
        return _json(problem.status, problem.body)
    return web.Response(status=302, headers={"Location": where})


async def _token(request: web.Request) -> web.StreamResponse:
    return await _oauth(request, "token")


async def _deauthorize(request: web.Request) -> web.StreamResponse:
    return await _oauth(request, "deauthorize")


async def _oauth(request: web.Request, verb: str) -> web.StreamResponse:
    simulator = request.app[SIMULATOR]
    oauth = simulator.oauth
    params = dict(parse_qsl(await request.text(), keep_blank_values=True))
    fault = simulator.faults.strike("POST", request.path, params.get("stripe_user_id", PLATFORM))
    if fault and fault.latency_ms:
        await asyncio.sleep(fault.latency_ms / 1000)
    if fault and fault.kind in {"timeout", "drop"} and not fault.after_effect:
        return await _lost(request, fault)
    if fault and fault.kind == "server_error":
        return _json(500, {"error": "server_error", "error_description": "An error occurred."})
    try:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        oauth.check_client(bearer or None, params.get("client_secret"))
        body = oauth.token(params) if verb == "token" else oauth.deauthorize(params)
    except OAuthError as problem:
        return _json(problem.status, problem.body)
    return await _sent(request, Answer(200, orjson.dumps(body), fault=fault))


# -- Resend --------------------------------------------------------------------------------------


async def _email(request: web.Request) -> web.StreamResponse:
    simulator = request.app[SIMULATOR]
    body = await request.read()
    fault = simulator.faults.strike("POST", request.path, PLATFORM)
    headers: dict[str, str] = {}
    try:
        simulator.resend.check_key(request.headers.get("Authorization"))
        headers = simulator.resend.gate.request()
        if fault:
            if fault.latency_ms:
                await asyncio.sleep(fault.latency_ms / 1000)
            _refuse_email(fault)
            if fault.kind in {"timeout", "drop"} and not fault.after_effect:
                return await _lost(request, fault)
        answer, email = simulator.resend.accept(body, request.headers.get("Idempotency-Key"))
    except ResendError as problem:
        return _json(problem.status, problem.body, {**headers, **problem.headers})
    if email is not None:
        simulator.people.email_arrived(email.text)
    if fault and fault.kind == "server_error":
        return _json(500, _EMAIL_BROKEN)
    return await _sent(request, Answer(200, orjson.dumps(answer), headers, fault))


_BROKEN = "An unexpected error occurred."
_EMAIL_BROKEN = {
    "statusCode": 500,
    "name": "application_error",
    "message": _BROKEN,
}


def _refuse_email(fault: Fault) -> None:
    if fault.kind == "rate_limited":
        raise too_many(
            2, {"ratelimit-limit": "2", "ratelimit-remaining": "0", "ratelimit-reset": "1", "retry-after": "1"}
        )
    if fault.kind == "server_error" and not fault.after_effect:
        raise ResendError(500, "application_error", _BROKEN)


# -- control -------------------------------------------------------------------------------------


async def _control(request: web.Request) -> web.StreamResponse:
    handler, found = CONTROL.find(request.method, request.path)
    if handler is None:
        return _json(404, {"error": f"no control at {request.method} {request.path}"})
    try:
        raw = await request.read()
        given: Json = orjson.loads(raw) if raw else {}
        given = {**dict(request.query), **given}
        return _json(200, await handler(Ask(request.app[SIMULATOR], found, given)))
    except ApiError as problem:
        return _json(problem.status, problem.body)
    except (TypeError, ValueError, KeyError) as problem:
        # The control API takes keyword arguments: a wrong one is the caller's mistake, told in full.
        return _json(400, {"error": {"message": f"{type(problem).__name__}: {problem}"}})


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    text = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(body=text, status=status, headers=headers, content_type=JSON)
