"""`citadel up`: starts the four services on this machine, watches them, restarts them when they end, and stops them."""

import asyncio
import os
import time
from collections import defaultdict, deque
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from console.local.databases import RunningDatabase, embedded, given, without_password
from console.local.preflight import filled_in, given_database_url, problems_of, refuse
from console.local.stack import LocalStack, StackPlan
from services.auth.settings import AuthSettings
from services.ingress.settings import IngressSettings
from services.ledger.settings import LedgerSettings
from services.worker.settings import WorkerSettings
from shared.database import Role
from shared.events.routing import ROUTES

SETTINGS = (AuthSettings, IngressSettings, LedgerSettings, WorkerSettings)
_LOOK_EVERY_S = 0.5
_FALLS, _WITHIN_S = 3, 60.0


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of `citadel up`. CITADEL_… settings come from the environment and `.env`."""

    data_dir: Path
    workers: int


def refuse_wrong_settings() -> None:
    """Raise SettingsMissing with every setting that would keep a service from starting."""
    refuse(problems_of(SETTINGS))


async def up(options: UpOptions, console: Console) -> None:
    """Run until cancelled. Needs `refuse_wrong_settings` first.

    Raises what LocalStack raises, and ProcessFailed when a service ends again and again.
    """
    url = given_database_url()
    database: AbstractAsyncContextManager[RunningDatabase] = (
        given(url) if url else embedded(options.data_dir / "postgres")
    )

    def say(what: str) -> None:
        console.print(f"[dim]starting:[/] {what}", highlight=False, soft_wrap=True)

    async with LocalStack(_plan(options), database, say) as stack:
        _show(stack, console)
        await _watch(stack, console)


def _plan(options: UpOptions) -> StackPlan:
    # The services run in this folder and read `.env` themselves. Only settings that the stack would otherwise choose
    # are read here.
    database = filled_in()
    auth = AuthSettings(**database)
    own = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("CITADEL_") and name != "CITADEL_PUBLIC_URL_FILE"
    }
    return StackPlan(
        data_dir=options.data_dir,
        workers=options.workers,
        settings={**own, "CITADEL_PUBLIC_URL": auth.public_url},
        ports={
            Role.INGRESS: IngressSettings(**database).ingress_port,
            Role.AUTH: auth.auth_port,
            Role.LEDGER: LedgerSettings(**database).ledger_port,
            Role.WORKER: WorkerSettings(**database).worker_port,
        },
        directory=Path.cwd(),
        host=auth.host,
        grace_s=auth.shutdown_grace_seconds,
    )


def _show(stack: LocalStack, console: Console) -> None:
    """Print all addresses, and what to set at Stripe."""
    public = stack.plan.settings["CITADEL_PUBLIC_URL"]
    lines = (
        ("ingress", stack.url(Role.INGRESS)),
        ("auth", f"{stack.url(Role.AUTH)} (from outside: {public})"),
        ("ledger", f"{stack.url(Role.LEDGER)}/openapi.json"),
        *((f"worker {n}", f"{stack.url(Role.WORKER, n)}/metrics") for n in range(1, stack.plan.workers + 1)),
        ("database", without_password(stack.database.url)),
        ("logs", str(stack.logs)),
    )
    console.print("\n[bold]The Citadel runs.[/] Ctrl-C stops it.\n", highlight=False)
    for label, text in lines:
        console.print(f"  [dim]{label:<10}[/]{text}", highlight=False, soft_wrap=True)
    console.print("\n[bold]At Stripe[/] (https://dashboard.stripe.com), with the same mode as your secret key:\n")
    at_stripe = (
        ("webhook", f"an endpoint for connected accounts that leads to {stack.url(Role.INGRESS)}/webhooks/stripe"),
        ("", f"(on a desk: stripe listen --forward-connect-to {stack.url(Role.INGRESS)}/webhooks/stripe)"),
        ("events", ", ".join(sorted(ROUTES))),
        ("redirect", f"{public}/auth/stripe/callback, in the settings of Connect's OAuth"),
        ("merchants", f"connect at {public}/auth/stripe"),
    )
    for label, text in at_stripe:
        console.print(f"  [dim]{label:<10}[/]{text}", highlight=False, soft_wrap=True)
    console.print("\nKeys for the ledger's API: citadel keys create NAME\n", highlight=False)


async def _watch(stack: LocalStack, console: Console) -> None:
    """Restart services that end; give up when one ends three times within a minute."""
    falls: defaultdict[tuple[Role, int], deque[float]] = defaultdict(lambda: deque(maxlen=_FALLS))
    while True:
        for service, index in stack.ended_unasked():
            process, times = stack.process(service, index), falls[service, index]
            times.append(time.monotonic())
            if len(times) == _FALLS and times[-1] - times[0] < _WITHIN_S:
                raise process.failed(f"has ended {_FALLS} times within a minute")
            console.print(
                f"[yellow]{process.name} has ended[/] ({process.log_file}); it is started again", soft_wrap=True
            )
            await stack.start(service, index)
        await asyncio.sleep(_LOOK_EVERY_S)
