"""Which of a policy's segments an invoice belongs to, and whether it is in the holdout."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256

from services.worker.recovery.model import InvoiceTruth
from shared.policy import Conditions, DeclineCause, Policy


def segment_of(policy: Policy, invoice: InvoiceTruth, cause: DeclineCause, now: datetime) -> str | None:
    """The name of the first segment whose conditions all hold, None when none does. `cause` is the last decline's."""
    return next((each.name for each in policy.segments if all(_conditions(each.when, invoice, cause, now))), None)


def in_holdout(policy: Policy, invoice_id: str) -> bool:
    """Whether the invoice is in the holdout: always the same for an invoice, whatever else is known of it.

    A larger share holds all invoices that a smaller one held.
    """
    if not invoice_id or policy.holdout_share <= 0:
        return False
    return int.from_bytes(sha256(f"holdout/{invoice_id}".encode()).digest()[:8]) < policy.holdout_share * 2**64


def _conditions(when: Conditions, invoice: InvoiceTruth, cause: DeclineCause, now: datetime) -> Iterator[bool]:
    """Whether each given condition holds; unknown facts satisfy none."""
    amount, currency = invoice.amount_remaining.amount, invoice.amount_remaining.currency
    country = invoice.card.country.upper() if invoice.card and invoice.card.country else None
    tenure = None if invoice.subscribed_at is None else (now - invoice.subscribed_at) // timedelta(days=1)
    if when.currencies is not None:
        yield currency in when.currencies
    if when.amount_at_least is not None:
        yield currency in when.amount_at_least and amount >= when.amount_at_least[currency]
    if when.amount_below is not None:
        yield currency in when.amount_below and amount < when.amount_below[currency]
    if when.products is not None:
        yield not invoice.products.isdisjoint(when.products)
    if when.prices is not None:
        yield not invoice.prices.isdisjoint(when.prices)
    if when.causes is not None:
        yield cause in when.causes
    if when.countries is not None:
        yield country in when.countries
    if when.tenure_days_at_least is not None:
        yield tenure is not None and tenure >= when.tenure_days_at_least
    if when.tenure_days_below is not None:
        yield tenure is not None and tenure < when.tenure_days_below
