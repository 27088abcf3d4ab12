"""A policy's end actions: the timeline's words for them, and the rule about a subscription's newer invoices."""

from collections.abc import Collection, Mapping, Sequence
from itertools import dropwhile, takewhile
from typing import Literal

from services.worker.recovery import InvoiceStatus
from shared.ids import InvoiceId
from shared.policy import EndAction

STEPS: Mapping[EndAction, str] = {
    "leave": "nothing",
    "cancel": "cancel the subscription",
    "pause": "pause the subscription's collection",
    "mark_uncollectible": "mark the invoice uncollectible",
}

ANNOUNCED = frozenset[EndAction]({"cancel", "pause"})
"""The end actions that take something away from the customer, and so are told beforehand and afterwards."""


def newer_against(newer: Collection[InvoiceStatus]) -> Literal["newer_invoice_paid", "newer_invoice_open"] | None:
    """What speaks against an end action, by the states of the subscription's newer invoices; None: nothing.

    A paid one: the customer pays again. An open one is being collected itself, and decides. Drafts and voided ones say
    nothing about whether the customer pays.
    """
    if InvoiceStatus.PAID in newer:
        return "newer_invoice_paid"
    return "newer_invoice_open" if InvoiceStatus.OPEN in newer else None


def newer_than(invoices: Sequence[tuple[InvoiceId, InvoiceStatus]], invoice_id: InvoiceId) -> list[InvoiceStatus]:
    """The states of the invoices that are newer than this one; `invoices` are newest first."""
    return [status for _, status in takewhile(lambda each: each[0] != invoice_id, invoices)]


def older_and_open(invoices: Sequence[tuple[InvoiceId, InvoiceStatus]], invoice_id: InvoiceId) -> list[InvoiceId]:
    """The open invoices that are older than this one; `invoices` are newest first."""
    rest = dropwhile(lambda each: each[0] != invoice_id, invoices)
    return [each for each, status in rest if status is InvoiceStatus.OPEN and each != invoice_id]
