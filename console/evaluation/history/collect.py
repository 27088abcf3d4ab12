"""Reads a merchant's past failures from Stripe, page by page.

Three lists, a hundred objects a call, newest first: all charges (each attempt with its codes), then all invoices (which
renewal a charge was for, and how it ended), then the payments that are still open (which wait for 3-D Secure). Reading
them completely takes about two calls per hundred renewals; asking about each failure would take two calls per failure.
Stripe's search could find only the failed charges, but it has no order, lags, and is not available for every account.

CannotRead   Stripe refuses, or has not answered for too long; the message says what to do
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import aiohttp
import stripe

from console.evaluation.history.assemble import assemble
from console.evaluation.history.document import Failure, Header
from console.evaluation.history.journal import Journal
from console.evaluation.history.rows import Json, charge_row, invoice_row, waiting_row
from shared.stripe_clients import ask

PAGE: Final = 100
TRIES: Final = 8
LONGEST_WAIT: Final = 60.0
CHARGES, INVOICES, WAITING = "charges", "invoices", "waiting"
LISTS: Final = (CHARGES, INVOICES, WAITING)
INVOICE_PARTS: Final = ["data.payments", "data.parent.subscription_details.subscription"]
WAITING_PARTS: Final = ["data.payment.payment_intent"]

_jitter = random.Random()  # noqa: S311 - spreads repeats, is no secret

Progress = Callable[[str, float, int], None]
"""Called after each page with the list's name, the share of the window that was read (0 to 1), and the rows kept."""


class CannotRead(Exception):
    """Stripe cannot be read; the pages read so far are kept."""


@dataclass(slots=True)
class Pace:
    """Spaces calls evenly, at most `per_second`. `backoff`: the first wait after a failure, in seconds."""

    per_second: float
    backoff: float = 1.0
    _next: float = field(default=0.0)

    async def turn(self) -> None:
        """Wait until the next call may be made."""
        now = time.monotonic()
        at = max(self._next, now)
        self._next = at + 1 / self.per_second
        await asyncio.sleep(at - now)


async def collect(client: stripe.StripeClient, journal: Journal, pace: Pace, progress: Progress) -> None:
    """Read all pages that the journal does not have yet. Raises CannotRead: call again with the same journal."""
    for name in LISTS:
        failed = (
            {row["intent"] for row in journal.rows.get(CHARGES, []) if row["failed"]} if name == INVOICES else set()
        )
        while name not in journal.done:
            page = await _patiently(partial(_page, client, name, journal), pace)
            data: list[Json] = page["data"]
            rows = _rows(name, data, journal.window.merchant, failed)
            cursor = data[-1]["id"] if data else journal.cursors.get(name)
            journal.add(name, rows, cursor, last=not page["has_more"] or not data)
            progress(name, _share(journal, data), len(journal.rows[name]))


def history_of(journal: Journal) -> tuple[Header, list[Failure]]:
    """The history in the journal's pages, when all are there."""
    window = journal.window
    charges, invoices = (_once(journal.rows.get(name, [])) for name in (CHARGES, INVOICES))
    failures, left_out = assemble(charges, invoices, journal.rows.get(WAITING, []), window.until)
    return Header.of(window.merchant, window.since, window.until, left_out), failures


def _once(rows: list[Json]) -> list[Json]:
    return list({row["id"]: row for row in rows}.values())


async def _page(client: stripe.StripeClient, name: str, journal: Journal) -> Json:
    window = journal.window
    asked: dict[str, Any] = {"created": {"gte": window.since, "lt": window.until}, "limit": PAGE}
    after = journal.cursors.get(name)
    if after is not None:
        asked["starting_after"] = after
    lists: dict[str, tuple[str, dict[str, Any]]] = {
        CHARGES: ("/v1/charges", {}),
        INVOICES: ("/v1/invoices", {"expand": INVOICE_PARTS}),
        WAITING: ("/v1/invoice_payments", {"status": "open", "expand": WAITING_PARTS}),
    }
    path, more = lists[name]
    return await ask(client, "get", path, **asked, **more)


def _rows(name: str, data: list[Json], merchant: str, failed: set[str]) -> list[Json]:
    kept: dict[str, Callable[[Json], Json | None]] = {
        CHARGES: lambda each: charge_row(merchant, each),
        INVOICES: lambda each: invoice_row(each, failed),
        WAITING: waiting_row,
    }
    return [row for each in data if (row := kept[name](each)) is not None]


def _share(journal: Journal, data: list[Json]) -> float:
    window = journal.window
    if not data:
        return 1.0
    oldest: int = data[-1]["created"]
    return min(1.0, (window.until - oldest) / (window.until - window.since))


async def _patiently(ask: Callable[[], Awaitable[Json]], pace: Pace) -> Json:
    """The answer; calls that fail because Stripe is busy or the connection breaks are repeated. Raises CannotRead."""
    why = ""
    for number in range(TRIES):
        await pace.turn()
        try:
            return await ask()
        except stripe.StripeError as error:
            if not _passing(error):
                raise CannotRead(_refusal(error)) from error
            why, asked = f"{error.http_status or 'no answer'} {error.code or type(error).__name__}", _asked(error)
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            why, asked = f"no whole answer ({type(error).__name__})", None
        if number < TRIES - 1:
            doubled = min(pace.backoff * 2**number, LONGEST_WAIT) * _jitter.uniform(0.5, 1.0)
            await asyncio.sleep(asked if asked is not None else doubled)
    raise CannotRead(f"Stripe did not answer {TRIES} times in a row ({why})")


def _passing(error: stripe.StripeError) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, stripe.RateLimitError | stripe.APIConnectionError):
        return True
    # No status: the answer broke off. A status below 400: its body could not be read, which is treated the same.
    return error.http_status is None or error.http_status in {408, 409} or not 400 <= error.http_status < 500


def _refusal(error: stripe.StripeError) -> str:
    what = f"Stripe refused: {error.http_status} {error.code or type(error).__name__}"
    if isinstance(error, stripe.AuthenticationError):
        return f"{what}: CITADEL_STRIPE_SECRET_KEY is not a key of this platform"
    if isinstance(error, stripe.PermissionError):
        return f"{what}: the account is not connected to this platform, or the key may not read it"
    return f"{what}: {error.user_message or error}"


def _asked(error: stripe.StripeError) -> float | None:
    """`Retry-After` in seconds, where Stripe sends one."""
    asked = str((error.headers or {}).get("retry-after", ""))
    return min(float(asked), LONGEST_WAIT) if asked.isdigit() else None
