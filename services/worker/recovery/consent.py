"""Which payment methods the customer has brought since the failure, and may therefore be charged for what is due.

A payment method that is made the customer's default after a failure, or is attached after a message of ours, is the
customer's answer: it may be charged for the invoice, also where the subscription or the invoice has an older one of its
own, which Stripe takes first. A default from before the failure that is newer than that older one is what the customer
wants invoices to be charged to, and is charged when the older one must not be any more. Whatever else was on file
before is only charged in Stripe's order, or as a backup by the merchant's policy.
"""

from services.worker.recovery.model import InvoiceTruth, OnFile, RecoveryFacts


def brought(recovery: RecoveryFacts, invoice: InvoiceTruth) -> tuple[OnFile, ...]:
    """The payment methods that the customer has brought, the present default first; they may be in Stripe's order."""
    default = invoice.customers_default
    found = [default] if default is not None and _new_default(recovery, default) else []
    known = {each.payment_method_id for each in found}
    found += [
        each
        for each in invoice.backups
        if each.payment_method_id in recovery.brought and each.payment_method_id not in known
    ]
    return tuple(found)


def newer_default(recovery: RecoveryFacts, invoice: InvoiceTruth) -> OnFile | None:
    """The customer's default, if it is from before the failure and newer than what Stripe takes before it."""
    default, other = invoice.customers_default, invoice.method_created_at
    if default is None or default.payment_method_id == invoice.payment_method_id or _new_default(recovery, default):
        return None
    newer = default.created_at is not None and other is not None and default.created_at > other
    return default if newer else None


def _new_default(recovery: RecoveryFacts, default: OnFile) -> bool:
    """Whether the customer's default is another than at the failure: an event, an earlier reading or its age says so.

    The age is compared in whole seconds, as Stripe gives it.
    """
    if default.payment_method_id in recovery.brought:
        return True
    first = recovery.first_default
    if first is not None and first.payment_method_id != default.payment_method_id:
        return True
    return default.created_at is not None and default.created_at > recovery.opened_at.replace(microsecond=0)
