"""Delivers a due message: reads the invoice and the brand, writes the email, hands it to the email service.

Nothing of Stripe's answers or of the email is kept.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import stripe

from services.worker.errors import InvoiceMissing, MerchantUnreachable, Refused
from services.worker.messages.campaign import STEPS, Link, Message
from services.worker.messages.cards import card_page
from services.worker.messages.sending import Draft, Unsent, compose, readiness
from services.worker.outside import stripe_calls
from services.worker.outside.email import Email, Sent
from services.worker.outside.remote import Remote
from shared import recovery_model
from shared.ids import AccountId, InvoiceId
from shared.logging import get_logger
from shared.silences import SilenceReason
from shared.unsubscribe import Recipient

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """A due message about an invoice. `until` is when the recovery ends, and with it the page for another card."""

    account: AccountId
    invoice_id: InvoiceId
    draft: Draft
    until: datetime


@dataclass(frozen=True, slots=True)
class Delivered:
    """The email service has it, or it was printed."""

    message: Message
    sent: Sent


@dataclass(frozen=True, slots=True)
class NotSent:
    """The message was not sent. `look`: the invoice has changed, so the recovery has to be evaluated at once."""

    rule: Unsent | Literal["account_restricted", "invoice_missing", "address_refused", "stopped", "left_alone"]
    look: bool = False


NOT_SENT = {
    "not_open": "No message: the invoice is not open any more.",
    "under_way": "No message: a payment is under way.",
    "not_paid": "No message: the invoice is not paid.",
    "no_address": "No message: Stripe has no email address for the customer.",
    "no_page": "No message: the invoice has no page to pay on.",
    "account_restricted": "No message: the merchant's account may not charge now, whatever the customer does.",
    "invoice_missing": "No message: Stripe does not know the invoice.",
    "stopped": "No message: the recovery was stopped while it was written.",
    "left_alone": "No message: the customer or the subscription is left alone.",
    "collection_off": "No message: the merchant collects the invoice no more, or not now.",
    "address_refused": "No message: the email service does not take the address.",
}


async def deliver(remote: Remote, due: Due) -> Delivered | NotSent | SilenceReason:
    """Send the message; repeats send nothing more. Raises RetryLater, MerchantUnreachable, Refused and LeaseLost."""
    client = remote.stripe.for_merchant(due.account)
    draft = due.draft
    written = await _write(client, remote, due)
    if isinstance(written, NotSent):
        return written
    against = await _against(remote, draft)
    return against or await hand_over(remote, draft.message, draft.recipient, written)


async def _against(remote: Remote, draft: Draft) -> NotSent | None:
    """Why the message is not sent, by what is committed now. A thank-you is about an ended recovery, others are not."""
    if draft.message is Message.RECOVERED:
        return NotSent("left_alone") if await remote.permission.left_alone(draft.recovery_id) else None
    match await remote.permission.refusal(draft.recovery_id):
        case None:
            return None
        case recovery_model.LEFT_ALONE:
            return NotSent("left_alone")
        case recovery_model.COLLECTION_OFF:
            return NotSent("collection_off")
        case _:
            return NotSent("stopped")


async def hand_over(
    remote: Remote, message: Message, recipient: Recipient, email: Email
) -> Delivered | NotSent | SilenceReason:
    """Hand an email to the email service, unless its recipient has unsubscribed meanwhile."""
    silence = await remote.permission.silence(recipient)
    if silence is not None:
        return silence
    remote.lease.check()
    try:
        return Delivered(message, await remote.email.send(email))
    except Refused as refused:
        if refused.status == 422:
            return NotSent("address_refused")
        raise


async def account_for_brand(client: stripe.StripeClient) -> dict[str, Any]:
    """Stripe's own JSON of the merchant's account; empty if the key may not read it: an email does without."""
    try:
        return await stripe_calls.own_account(client)
    except (MerchantUnreachable, Refused) as refused:
        log.warning("no_brand", reason=refused.reason)
        return {}


async def _write(client: stripe.StripeClient, remote: Remote, due: Due) -> Email | NotSent:
    draft = due.draft
    try:
        invoice = await stripe_calls.retrieve_invoice(client, due.invoice_id)
    except InvoiceMissing:
        return NotSent("invoice_missing", look=True)
    unready = readiness(draft, invoice)
    if unready is not None:
        return NotSent(unready, look=unready in {"not_open", "under_way", "collection_off"})
    account = await account_for_brand(client)
    if account.get("charges_enabled") is False and draft.message is not Message.RECOVERED:
        return NotSent("account_restricted")
    page = None
    if STEPS[draft.message].link is Link.CARD:
        page = await card_page(
            client, draft.recipient.customer_id, f"card_page:{draft.task_id}", due.until, remote.lease
        )
    email = compose(draft, invoice, account, page, remote.email.unsubscribe_page(draft.recipient))
    return email if isinstance(email, Email) else NotSent(email)
