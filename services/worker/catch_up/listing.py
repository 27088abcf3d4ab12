"""Reads Stripe's lists of events and invoices, and keeps only what is needed of them."""

from dataclasses import dataclass
from typing import Any

import stripe
from pydantic import ValidationError

from services.worker.catch_up.plan import ListEvents, ListInvoices, ReadInvoices, Step
from services.worker.errors import InvoiceMissing, Refused
from services.worker.outside.stripe_calls import retrieve_invoice, stripe_errors
from shared.events.incoming import Incoming, read_event
from shared.events.intents import OpenRecovery
from shared.events.routing import ROUTES, route_open_invoice
from shared.ids import AccountId, InvoiceId
from shared.logging import get_logger
from shared.stripe_clients import Json, ask

log = get_logger(__name__)

_NOT_LISTED = {
    "account.application.deauthorized",  # once a merchant has disconnected, its events cannot be listed any more
    "customer.card.updated",  # this name and the next are not in the API version of our requests any more
    "payment_method.card_automatically_updated",
}
TYPES = tuple(sorted(ROUTES.keys() - _NOT_LISTED, key=lambda kind: (kind[:8] != "invoice.", kind)))
"""The event types that are listed, those that open recoveries first."""

PAGE = 100
READ_AT_ONCE = 25


@dataclass(frozen=True, slots=True)
class EventsListed:
    """A page of events that were not delivered. `last` is where the next page begins, None after the last one."""

    step: ListEvents
    events: tuple[Incoming, ...]
    last: str | None


@dataclass(frozen=True, slots=True)
class InvoicesListed:
    """A page of open invoices: those that may be failed renewals. `last` as in `EventsListed`."""

    step: ListInvoices
    candidates: tuple[InvoiceId, ...]
    last: str | None


@dataclass(frozen=True, slots=True)
class InvoicesRead:
    """The invoices that were read; `failed` are those among them that are failed renewals."""

    read: tuple[InvoiceId, ...]
    failed: tuple[OpenRecovery, ...]


@dataclass(frozen=True, slots=True)
class PlaceLost:
    """Stripe does not know the object after which the page begins: list from the start again."""

    step: ListEvents | ListInvoices


Fetched = EventsListed | InvoicesListed | InvoicesRead | PlaceLost


async def fetch(client: stripe.StripeClient, account: AccountId, step: Step) -> Fetched:
    """Do one step. Raises what `stripe_errors` does."""
    if isinstance(step, ReadInvoices):
        return await _read(client, step.invoice_ids[:READ_AT_ONCE])
    try:
        return await (_events(client, account, step) if isinstance(step, ListEvents) else _invoices(client, step))
    except Refused as refused:
        if step.after is not None and refused.param == "starting_after":
            return PlaceLost(step)
        raise


async def _events(client: stripe.StripeClient, account: AccountId, step: ListEvents) -> EventsListed:
    asked: dict[str, Any] = {
        "delivery_success": False,
        "types": list(step.types),
        "created": {"gte": int(step.since.timestamp()), "lte": int(step.until.timestamp())},
        "limit": PAGE,
    }
    if step.after is not None:
        asked["starting_after"] = step.after
    with stripe_errors():
        page = await ask(client, "get", "/v1/events", **asked)
    events: list[Incoming] = []
    for each in page["data"]:
        try:
            events.append(read_event(each, listed_for=account))
        except ValidationError:
            log.warning("listed_event_unreadable", account=account)
    return EventsListed(step, tuple(events), _end(page))


async def _invoices(client: stripe.StripeClient, step: ListInvoices) -> InvoicesListed:
    asked: dict[str, Any] = {
        "status": "open",
        "collection_method": "charge_automatically",
        "created": {"gte": int(step.since.timestamp())},
        "limit": PAGE,
    }
    if step.after is not None:
        asked["starting_after"] = step.after
    with stripe_errors():
        page = await ask(client, "get", "/v1/invoices", **asked)
    routed = [route_open_invoice(each) for each in page["data"]]
    candidates = tuple(each.invoice_id for each in routed if isinstance(each, OpenRecovery))
    return InvoicesListed(step, candidates, _end(page))


def _end(page: Json) -> str | None:
    """The last id of a page; None when no page follows."""
    return str(page["data"][-1]["id"]) if page["has_more"] and page["data"] else None


async def _read(client: stripe.StripeClient, invoice_ids: tuple[InvoiceId, ...]) -> InvoicesRead:
    failed: list[OpenRecovery] = []
    for invoice_id in invoice_ids:
        try:
            routed = route_open_invoice(await retrieve_invoice(client, invoice_id))
        except InvoiceMissing:
            continue
        if isinstance(routed, OpenRecovery):
            failed.append(routed)
    return InvoicesRead(invoice_ids, tuple(failed))
