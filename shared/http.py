"""What all services share over HTTP: errors, health, metrics, and a graceful end.

Errors are RFC 9457 problem details: `raise Problem(…)` anywhere in a handler. A database that is away is a 503 with
`Retry-After`; an unexpected error is a 500 without details, which is logged with its request id.

`/healthz` says that the process lives, `/readyz` that its database answers with the expected schema, `/metrics` is
for Prometheus.
"""

import asyncio
import contextlib
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from pydantic import ValidationError

from shared import migrations
from shared.database import Database, DatabaseAway, DatabaseBusy
from shared.logging import bound, get_logger

log = get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROBLEM_BASE = "urn:citadel:problem:"
DATABASE = web.AppKey("database", Database)
SERVICE = web.AppKey("service", str)
REQUEST_ID = web.RequestKey("request_id", str)

_REQUESTS = Counter(
    "citadel_http_requests_total",
    "HTTP requests answered",
    ["service", "route", "method", "status"],
)
_SECONDS = Histogram("citadel_http_request_seconds", "Time to answer an HTTP request", ["service", "route"])


class Problem(Exception):
    """An error for the caller. `type_` is stable and short (`not-found`); `errors` names fields that are wrong."""

    def __init__(
        self,
        status: int,
        type_: str,
        detail: str,
        *,
        errors: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.type = type_
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    def response(self, request_id: str) -> web.Response:
        """The problem as `application/problem+json`."""
        body: dict[str, Any] = {
            "type": PROBLEM_BASE + self.type,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors is not None:
            body["errors"] = self.errors
        return web.Response(
            status=self.status,
            body=orjson.dumps(body),
            content_type="application/problem+json",
            headers=self.headers,
        )


def fields_of(error: ValidationError) -> list[tuple[str, str]]:
    """Each field that pydantic found wrong, and what is wrong with it; never the value, which may be a secret."""
    return [
        (
            ".".join(str(part) for part in item["loc"]),
            item["msg"].removeprefix("Value error, ").removesuffix("."),
        )
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def invalid(status: int, type_: str, fields: Sequence[tuple[str, str]], detail: str | None = None) -> Problem:
    """A Problem that names the fields that are wrong; `detail` is made of them unless it is given."""
    named = [{"field": name, "message": message} for name, message in fields]
    told = "; ".join(f"{name}: {message}" if name else message for name, message in fields) + "."
    return Problem(status, type_, (detail or told)[:1000], errors=named)


def json_response(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """`data` (anything that orjson writes; else its str) as application/json."""
    return web.Response(
        status=status,
        body=orjson.dumps(data, default=str),
        content_type="application/json",
        headers=headers,
    )


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"


async def _answer(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response(request_id)
    except DatabaseAway as error:
        log.warning("database_away", reason=str(error))
        return Problem(
            503,
            "database-away",
            "The database cannot be reached. Try again.",
            headers={"Retry-After": "2"},
        ).response(request_id)
    except (DatabaseBusy, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        log.warning("database_busy", route=_route(request), reason=type(error).__name__)
        return Problem(
            503, "busy", "Others hold what this needs; nothing was changed. Try again.", headers={"Retry-After": "2"}
        ).response(request_id)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        type_ = HTTPStatus(error.status).phrase.lower().replace(" ", "-")
        return Problem(error.status, type_, error.reason, headers=headers).response(request_id)
    except Exception:  # the last resort: whatever it was, the caller gets a problem and the log its trace
        log.exception("request_failed", route=_route(request))
        return Problem(500, "internal", "An unexpected error; the log has it under this request_id.").response(
            request_id
        )


@web.middleware
async def _edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request an id, turn every error into a problem, and count and log every answer."""
    started = time.perf_counter()
    request_id = str(uuid.uuid4())
    request[REQUEST_ID] = request_id
    service, route = request.app[SERVICE], _route(request)
    with bound(request_id=request_id):
        response = await _answer(request, handler, request_id)
        seconds = time.perf_counter() - started
        if not response.prepared:
            response.headers.setdefault("X-Request-Id", request_id)
        if route not in _QUIET:
            log.info(
                "request",
                method=request.method,
                route=route,
                status=response.status,
                ms=round(seconds * 1000, 1),
            )
    _REQUESTS.labels(service, route, request.method, response.status).inc()
    _SECONDS.labels(service, route).observe(seconds)
    return response


# Each of Stripe's events has a log line of its own; at thousands a second, a second line would cost too much.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics", "/webhooks/stripe"})


async def _healthz(_request: web.Request) -> web.Response:
    return json_response({"status": "ok"})


async def _readyz(request: web.Request) -> web.Response:
    revision = await request.app[DATABASE].schema_revision()
    if revision is None or not migrations.serves(revision):
        raise Problem(
            503,
            "schema-mismatch",
            f"The database's schema is at {revision or 'nothing'}, this code expects {migrations.HEAD}: "
            "run `citadel migrate`.",
        )
    return json_response({"status": "ready", "schema": revision})


async def _metrics(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def make_app(service: str, database: Database, *, max_body_bytes: int = 1024 * 1024) -> web.Application:
    """An application with the common edge, health and metrics routes; the service adds its own.

    A longer body than `max_body_bytes` is a 413.
    """
    app = web.Application(middlewares=[_edge], client_max_size=max_body_bytes)
    app[DATABASE] = database
    app[SERVICE] = service
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    return app


@contextlib.asynccontextmanager
async def serving(app: web.Application, host: str, port: int, grace_seconds: float) -> AsyncIterator[int]:
    """Serve the application during the block; gives the port (useful when `port` is 0).

    At the end no new connection is taken, and requests under way have `grace_seconds` to finish.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=grace_seconds)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound_port: int = runner.addresses[0][1]
        log.info("listening", host=host, port=bound_port)
        yield bound_port
    finally:
        await runner.cleanup()


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets. Call once, from the running loop of the process's main thread."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def serve_until_stopped(app: web.Application, host: str, port: int, grace_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT, then end gracefully: what a service's `__main__` runs."""
    stop = stop_signal()
    async with serving(app, host, port, grace_seconds):
        await stop.wait()
        log.info("stopping")
