"""What a policy's segments ask about an invoice, and whether the invoice is of the holdout."""

from hashlib import sha256

from services.worker.recovery.model import InvoiceTruth
from shared.ids import InvoiceId
from shared.policy import DeclineCause, Policy
from shared.policy.segments import SegmentFacts


def segment_facts(invoice: InvoiceTruth, cause: DeclineCause) -> SegmentFacts:
    """The facts of an invoice as it was read; `cause` is the last decline's."""
    country = invoice.card.country.upper() if invoice.card and invoice.card.country else None
    return SegmentFacts(
        invoice.amount_remaining, cause, country, invoice.products, invoice.prices, invoice.subscribed_at
    )


def in_holdout(policy: Policy, invoice_id: InvoiceId | None) -> bool:
    """Whether the invoice is in the holdout: always the same for an invoice, whatever else is known of it.

    A larger share holds all invoices that a smaller one held.
    """
    if not invoice_id or policy.holdout_share <= 0:
        return False
    return int.from_bytes(sha256(f"holdout/{invoice_id}".encode()).digest()[:8]) < policy.holdout_share * 2**64
