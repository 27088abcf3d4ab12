"""What to fetch next for a merchant: a pure function of how far it has come, and of now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
# One list of events names no more types than this (`types` of https://docs.stripe.com/api/events/list, November 2026).
TYPES_IN_A_LIST = 20
# A shorter span is not worth a call.
SHORTEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """A merchant's row in `catch_ups`; its columns are explained there."""

    events_until: datetime
    window_until: datetime | None = None
    page_after: str | None = None
    types_listed: tuple[str, ...] = ()
    types_done: tuple[str, ...] = ()
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
    """List a page, newest first, of the events of these types from `since` to `until`."""

    since: datetime
    until: datetime
    types: tuple[str, ...]
    after: str | None


Step = ReadInvoices | ListInvoices | ListEvents


def next_step(progress: Progress, now: datetime, types: Sequence[str]) -> Step | None:
    """What to fetch next; None when the merchant is up to date.

    The `types` of events are more than one list may name: each span is listed in several lists, in the order of
    `types`. A list under way is finished with the types that it began with, because its place means nothing in another;
    types that newer code adds meanwhile are listed after it.
    """
    if progress.to_read:
        return ReadInvoices(progress.to_read)
    if _invoices_are_due(progress, now):
        began = progress.invoices_from or now
        return ListInvoices(began, began - EVENTS_KEPT, progress.invoices_after)
    since = max(progress.events_until - OVERLAP, now - EVENTS_KEPT)
    until = progress.window_until or now - SETTLING
    if progress.window_until is None and until - progress.events_until < SHORTEST:
        return None
    if progress.page_after is not None and progress.types_listed:
        return ListEvents(since, until, progress.types_listed, progress.page_after)
    done = _done(progress)
    left = [each for each in types if each not in done] or list(types)
    return ListEvents(since, until, tuple(left[:TYPES_IN_A_LIST]), None)


def _done(progress: Progress) -> frozenset[str]:
    """The types that were listed for the span under way; without one, older code has closed it and left them behind."""
    return frozenset() if progress.window_until is None else frozenset(progress.types_done)


def after_page(progress: Progress, step: ListEvents, last: str | None, types: Sequence[str]) -> Progress:
    """How far the merchant has come after a page of events; `last` is where the next page begins, None after the last.

    The span counts as looked at when each of the `types` was listed.
    """
    if last is not None:
        return replace(progress, window_until=step.until, page_after=last, types_listed=step.types)
    done = _done(progress) | set(step.types)
    if done >= set(types):
        return replace(
            progress, events_until=step.until, window_until=None, page_after=None, types_listed=(), types_done=()
        )
    return replace(progress, window_until=step.until, page_after=None, types_listed=(), types_done=tuple(sorted(done)))


def from_the_start(progress: Progress, step: ListEvents) -> Progress:
    """The place in a list is lost: that list begins again, and those before it stay done."""
    return replace(progress, window_until=step.until, page_after=None, types_listed=())


def _invoices_are_due(progress: Progress, now: datetime) -> bool:
    if progress.invoices_from is not None or progress.invoices_at is None:
        return True
    return now - progress.invoices_at >= RETRIES_END
