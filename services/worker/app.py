"""Puts the worker together: the engine, its upkeep, and the port for health and metrics."""

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from services.worker.catch_up.schedule import catching_up
from services.worker.dossier.permission import PermissionFromDatabase
from services.worker.engine.janitor import UPKEEP, Rescuer, rescue_every
from services.worker.engine.loop import Engine, Pace
from services.worker.engine.periodic import PeriodicRunner
from services.worker.handler import Handlers
from services.worker.handlers import discover
from services.worker.learning.schedule import LEARNING
from services.worker.outside.call_rates import CallRates
from services.worker.outside.circuits import Circuits
from services.worker.outside.email import REMOTE as RESEND
from services.worker.outside.email import EmailSender, PrintingSender, ResendSender
from services.worker.outside.mail_quota import MailQuota
from services.worker.outside.remote import Outside
from services.worker.outside.stripe_gate import REMOTE, StripeGate, calls_per_second
from services.worker.settings import WorkerSettings
from shared.database import Database
from shared.http import Problem, make_app, serving
from shared.logging import get_logger
from shared.queue.limits import TaskLimits
from shared.stripe_clients import StripeClientFactory
from shared.unsubscribe import UnsubscribePages

log = get_logger(__name__)


def worker_name() -> str:
    """Unique among all workers that ever lived: host, process, and a random part for a reused pid."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def pace_of(settings: WorkerSettings) -> Pace:
    """The loop's pace, from the settings."""
    return Pace(
        concurrency=settings.worker_concurrency,
        batch=settings.worker_batch,
        lease=settings.lease,
        poll=(settings.worker_poll_min_seconds, settings.worker_poll_max_seconds),
        grace_seconds=settings.shutdown_grace_seconds,
        limits=TaskLimits(settings.worker_tasks_of_merchant, settings.worker_tasks_in_all),
    )


@asynccontextmanager
async def going_outside(
    settings: WorkerSettings, database: Database, rates: CallRates | None = None, mail_rates: CallRates | None = None
) -> AsyncIterator[Outside]:
    """The remote services, for the life of the block. `rates` spaces the calls to Stripe, `mail_rates` those to Resend;
    None does not.

    `database` is where a handler asks, right before a call, whether the call is still wanted.
    """
    circuits = Circuits()
    gate = StripeGate(circuits, rates)
    async with StripeClientFactory.open(settings, gate) as stripe, aiohttp.ClientSession() as session:
        sender = make_email_sender(settings, session, circuits, mail_rates, MailQuota(database))
        yield Outside(stripe, sender, PermissionFromDatabase(database), circuits)


def rates_of(settings: WorkerSettings, database: Database) -> CallRates:
    """How many calls a second go to Stripe: as set, else as many as Stripe accepts for this kind of key."""
    known = calls_per_second(settings.stripe_secret_key.get_secret_value())
    return CallRates(
        database, REMOTE, settings.stripe_calls_per_second or known, settings.stripe_calls_per_second_in_all
    )


def mail_rates_of(settings: WorkerSettings, database: Database) -> CallRates:
    """How many calls a second go to Resend, from all workers together."""
    return CallRates(database, RESEND, settings.resend_calls_per_second)


def make_email_sender(
    settings: WorkerSettings,
    session: aiohttp.ClientSession,
    circuits: Circuits,
    rates: CallRates | None = None,
    quota: MailQuota | None = None,
) -> EmailSender:
    """Resend where there is a key for it; otherwise emails are printed, and the log says so once."""
    if settings.resend_api_key is None:
        log.warning("emails_are_printed", why="CITADEL_RESEND_API_KEY is not set: no email is sent")
        return PrintingSender()
    pages = None
    if settings.unsubscribe_secrets is not None and settings.unsubscribe_url is not None:
        pages = UnsubscribePages.of(settings.unsubscribe_secrets, settings.unsubscribe_url)
    else:
        log.warning("emails_without_unsubscribe", why="CITADEL_UNSUBSCRIBE_URL and …_SECRETS are not set")
    return ResendSender(
        circuits,
        session,
        settings.resend_base,
        settings.resend_api_key,
        settings.email_from,
        settings.resend_timeout_seconds,
        pages,
        rates,
        quota,
    )


def make_worker_app(database: Database, engine: Engine, stuck_seconds: float) -> web.Application:
    """Health and metrics. `/healthz` is a 503 when the engine's loop has not gone round for `stuck_seconds`."""
    app = make_app("worker", database)

    @web.middleware
    async def alive(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path == "/healthz" and engine.seconds_since_turn > stuck_seconds:
            since = round(engine.seconds_since_turn)
            raise Problem(503, "loop-stuck", f"The worker's loop has not turned for {since} s; restart the process.")
        return await handler(request)

    app.middlewares.append(alive)
    return app


async def run(settings: WorkerSettings, database: Database, stop: asyncio.Event) -> None:
    """Run the engine, its upkeep and the port until `stop` is set; running tasks are finished or given back."""
    handlers: Handlers = discover()
    rates, mail_rates = rates_of(settings, database), mail_rates_of(settings, database)
    async with going_outside(settings, database, rates, mail_rates) as outside:
        engine = Engine(worker_name(), database, handlers, outside, pace_of(settings))
        rescuer = Rescuer(database, handlers, rescue_every(settings.worker_lease_seconds))
        periodic = PeriodicRunner(database, (*UPKEEP, *catching_up(settings.catch_up_every), *LEARNING))
        app = make_worker_app(database, engine, settings.worker_stuck_seconds)
        async with (
            serving(app, settings.host, settings.worker_port, grace_seconds=1.0),
            asyncio.TaskGroup() as group,
        ):
            upkeep = [
                group.create_task(rescuer.run(), name="rescuer"),
                group.create_task(periodic.run(), name="periodic"),
                group.create_task(rates.run(), name="rates"),
                group.create_task(mail_rates.run(), name="mail_rates"),
            ]
            await engine.run(stop)
            for task in upkeep:
                task.cancel()
    log.info("stopped")
