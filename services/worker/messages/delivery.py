"""Delivers due messages: reads the invoices and the brand, writes one email, hands it to the email service.

Nothing of Stripe's answers or of the email is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import stripe

from services.worker.errors import MerchantUnreachable, Refused
from services.worker.messages.campaign import LINKS, Link, Message
from services.worker.messages.cards import card_page
from services.worker.messages.drafting import Part, Unready, drafted
from services.worker.messages.sending import Sheet, Unsent, address_of, compose, compose_after, is_paused
from services.worker.outside import stripe_calls
from services.worker.outside.email import BAD_RECIPIENT, Email, Sent
from services.worker.outside.invoices import Invoice, read
from services.worker.outside.remote import Remote
from services.worker.recovery import InvoiceStatus
from services.worker.recovery.decide import SUBSCRIPTION_OVER
from shared.ids import AccountId, InvoiceId, RecoveryId
from shared.silences import SilenceReason
from shared.unsubscribe import Recipient


@dataclass(frozen=True, slots=True)
class Due:
    """An email that is due: about these recoveries of one customer, the one whose task it is first."""

    account: AccountId
    recipient: Recipient
    task_id: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class After:
    """An email after the end of recoveries, about their invoices: `message` is a thank-you, or tells of the end."""

    account: AccountId
    recipient: Recipient
    task_id: str
    message: Message
    invoices: Mapping[RecoveryId, InvoiceId]
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The email service has it, or it was printed. `about` are the recoveries that the email is about."""

    message: Message
    sent: Sent
    about: tuple[RecoveryId, ...] = ()


@dataclass(frozen=True, slots=True)
class NotSent:
    """The message was not sent. `look`: the invoice has changed, so the recovery has to be evaluated at once."""

    rule: (
        Unready
        | Unsent
        | Literal[
            "not_paid", "not_so", "merchant_unreachable", "invoice_missing", "address_refused", "stopped", "not_due"
        ]
    )
    look: bool = False


NOT_SENT = {
    "not_open": "No message: the invoice is not open any more.",
    "not_paid": "No message: the invoice is not paid.",
    "not_so": "No message: the subscription goes on, or the invoice is not open any more.",
    "not_final": "No message: the invoice is not final yet.",
    "under_way": "No message: a payment of the invoice is being processed.",
    "over": "No message: the recovery ends.",
    "no_address": "No message: Stripe has no email address for the customer.",
    "no_page": "No message: the invoice has no page to pay on.",
    "merchant_unreachable": "No message: the merchant's account cannot be reached any more.",
    "invoice_missing": "No message: Stripe does not know the invoice.",
    "stopped": "No message: the recovery was stopped while it was written.",
    "not_due": "No message: the other invoices are paid, and none about this one is due.",
    "address_refused": "No message: the email service does not take the address.",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a due email. `left_out` says of each recovery that it is not about why it is not."""

    delivered: Delivered | None = None
    left_out: Mapping[RecoveryId, NotSent] = field(default_factory=dict)

    @property
    def about(self) -> tuple[RecoveryId, ...]:
        """The recoveries that the email is about; none if none went out."""
        return self.delivered.about if self.delivered is not None else ()


async def deliver(remote: Remote, due: Due) -> Told | SilenceReason:
    """Send one email about all parts whose invoice is open; repeats send nothing more.

    Raises RetryLater, Refused and LeaseLost.
    """
    client = remote.stripe.for_merchant(due.account)
    try:
        return await _deliver(client, remote, due)
    except MerchantUnreachable:
        return Told(left_out={due.parts[0].dossier.recovery_id: NotSent("merchant_unreachable", look=True)})


async def _deliver(client: stripe.StripeClient, remote: Remote, due: Due) -> Told | SilenceReason:
    sheets: dict[RecoveryId, Sheet] = {}
    left_out: dict[RecoveryId, NotSent] = {}
    for part in due.parts:
        found = await _sheet(client, part)
        if isinstance(found, Sheet):
            sheets[part.dossier.recovery_id] = found
        else:
            left_out[part.dossier.recovery_id] = found
    if not _wanted(due, sheets):
        return _none(sheets, left_out)
    account = await stripe_calls.own_account(client)
    page = None
    if any(LINKS[each.draft.message] is Link.CARD for each in sheets.values()):
        until = max(part.dossier.ends_at for part in due.parts)
        page = await card_page(client, due.recipient.customer_id, f"card_page:{due.task_id}", until, remote.lease)
    for recovery_id in tuple(sheets):
        if await remote.permission.refusal(recovery_id) is not None:
            left_out[recovery_id] = NotSent("stopped")
            del sheets[recovery_id]
    if not _wanted(due, sheets):
        return _none(sheets, left_out)
    unsubscribe = remote.email.unsubscribe_page(due.recipient)
    email = compose(tuple(sheets.values()), due.recipient, due.task_id, account, page, unsubscribe)
    if not isinstance(email, Email):
        return Told(left_out=left_out | dict.fromkeys(sheets, NotSent(email)))
    handed = await hand_over(remote, Message(email.kind), due.recipient, email)
    match handed:
        case Delivered():
            return Told(replace(handed, about=tuple(sheets)), left_out)
        case NotSent():
            return Told(left_out=left_out | dict.fromkeys(sheets, handed))
        case _:
            return handed


def _wanted(due: Due, sheets: Mapping[RecoveryId, Sheet]) -> bool:
    """Whether an email is due about any of the invoices that are left."""
    return any(part.due and part.dossier.recovery_id in sheets for part in due.parts)


def _none(sheets: Mapping[RecoveryId, Sheet], left_out: Mapping[RecoveryId, NotSent]) -> Told:
    return Told(left_out={**left_out, **dict.fromkeys(sheets, NotSent("not_due"))})


async def _sheet(client: stripe.StripeClient, part: Part) -> Sheet | NotSent:
    invoice = await _invoice(client, part.dossier.invoice_id)
    if isinstance(invoice, NotSent):
        return invoice
    draft = drafted(part, invoice)
    if isinstance(draft, str):
        return NotSent(draft, look=draft in {"not_open", "over"})
    return NotSent("no_address") if address_of(invoice) is None else Sheet(draft, invoice)


async def _invoice(client: stripe.StripeClient, invoice_id: InvoiceId) -> dict[str, Any] | NotSent:
    try:
        return await stripe_calls.retrieve_invoice(client, invoice_id)
    except Refused as refused:
        if refused.status == 404:
            return NotSent("invoice_missing", look=True)
        raise


async def deliver_after(remote: Remote, after: After) -> Delivered | NotSent | SilenceReason:
    """Send an email after the end, about those of the invoices of which it is true. Raises as `deliver`."""
    client = remote.stripe.for_merchant(after.account)
    try:
        true: dict[RecoveryId, dict[str, Any]] = {}
        why: NotSent | None = None
        for recovery_id, invoice_id in after.invoices.items():
            invoice = await _invoice(client, invoice_id)
            if isinstance(invoice, NotSent):
                why = why or invoice
                continue
            untrue = _untrue(after.message, invoice)
            if untrue is None:
                true[recovery_id] = invoice
            why = why or untrue
        if not true:
            return why or NotSent("invoice_missing")
        account = await stripe_calls.own_account(client)
    except MerchantUnreachable:
        return NotSent("merchant_unreachable")
    email = compose_after(
        after.message,
        tuple(true.values()),
        after.recipient,
        after.task_id,
        next(iter(true)),
        account,
        remote.email.unsubscribe_page(after.recipient),
        after.ended_at,
    )
    if not isinstance(email, Email):
        return NotSent(email)
    handed = await hand_over(remote, after.message, after.recipient, email)
    return replace(handed, about=tuple(true)) if isinstance(handed, Delivered) else handed


def _untrue(message: Message, invoice: dict[str, Any]) -> NotSent | None:
    """Why the invoice, as it is now, is not what the message says."""
    truth = read(Invoice.model_validate(invoice)).truth
    if message is Message.RECOVERED:
        return None if truth.status is InvoiceStatus.PAID else NotSent("not_paid")
    ended = truth.subscription_status in SUBSCRIPTION_OVER or is_paused(invoice)
    return None if ended and truth.status is InvoiceStatus.OPEN and not truth.paid else NotSent("not_so")


async def hand_over(
    remote: Remote, message: Message, recipient: Recipient, email: Email
) -> Delivered | NotSent | SilenceReason:
    """Hand an email to the email service, unless its recipient has unsubscribed meanwhile."""
    silence = await remote.permission.silence(recipient)
    if silence is not None:
        return silence
    try:
        with remote.lease.guarding():
            return Delivered(message, await remote.email.send(email))
    except Refused as refused:
        if refused.code == BAD_RECIPIENT:
            return NotSent("address_refused")
        raise
