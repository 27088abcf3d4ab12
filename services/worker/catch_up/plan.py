"""What to fetch next for a merchant: a pure function of how far it has come, and of now."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.ids import InvoiceId

# Stripe lists events for 30 days (https://docs.stripe.com/api/events/list), and tries to deliver them for up to three
# (https://docs.stripe.com/webhooks#automatic-retries); read November 2026.
EVENTS_KEPT = timedelta(days=30)
RETRIES_END = timedelta(days=3)
# A younger event's webhook may still be on its way.
SETTLING = timedelta(minutes=2)
# This span is listed twice, because clocks differ and some events are listed late.
OVERLAP = timedelta(minutes=5)
# A shorter span is not worth a call.
SHORTEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """A merchant's row in `catch_ups`; its columns are explained there."""

    events_until: datetime
    window_until: datetime | None = None
    page_after: str | None = None
    invoices_at: datetime | None = None
    invoices_from: datetime | None = None
    invoices_after: str | None = None
    to_read: tuple[InvoiceId, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadInvoices:
    """Read these open invoices, which have no recovery."""

    invoice_ids: tuple[InvoiceId, ...]


@dataclass(frozen=True, slots=True)
class ListInvoices:
    """List a page of the open invoices that were created at `since` or later. The list began at `began`."""

    began: datetime
    since: datetime
    after: str | None


@dataclass(frozen=True, slots=True)
class ListEvents:
    """List a page, newest first, of the events from `since` to `until`."""

    since: datetime
    until: datetime
    after: str | None


Step = ReadInvoices | ListInvoices | ListEvents


def next_step(progress: Progress, now: datetime) -> Step | None:
    """What to fetch next; None when the merchant is up to date."""
    if progress.to_read:
        return ReadInvoices(progress.to_read)
    if _invoices_are_due(progress, now):
        began = progress.invoices_from or now
        return ListInvoices(began, began - EVENTS_KEPT, progress.invoices_after)
    since = max(progress.events_until - OVERLAP, now - EVENTS_KEPT)
    until = progress.window_until or now - SETTLING
    if progress.window_until is None and until - progress.events_until < SHORTEST:
        return None
    return ListEvents(since, until, progress.page_after)


def _invoices_are_due(progress: Progress, now: datetime) -> bool:
    if progress.invoices_from is not None or progress.invoices_at is None:
        return True
    return now - progress.invoices_at >= RETRIES_END
