"""Delivers due messages: reads the invoices and the brand, writes one email, hands it to the email service.

Nothing of Stripe's answers or of the email is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import stripe

from services.worker.dossier.dossier import Dossier
from services.worker.dossier.ending import ANNOUNCED, newer_than
from services.worker.dossier.story import UNREAD_NEWS
from services.worker.errors import InvoiceMissing, MerchantUnreachable, Refused
from services.worker.messages.campaign import LINKS, Link, Message
from services.worker.messages.cards import card_page
from services.worker.messages.drafting import Part, Unready, drafted
from services.worker.messages.sending import Sheet, Unsent, address_of, compose, compose_after, is_paused
from services.worker.outside import stripe_calls
from services.worker.outside.email import BAD_RECIPIENT, Email, Sent
from services.worker.outside.invoices import read
from services.worker.outside.remote import Remote
from services.worker.outside.stripe_objects import Invoice
from services.worker.recovery import InvoiceStatus
from services.worker.recovery.decide import SUBSCRIPTION_OVER
from shared import recovery_model
from shared.ids import AccountId, InvoiceId, RecoveryId
from shared.logging import get_logger
from shared.silences import SilenceReason
from shared.unsubscribe import Recipient

log = get_logger(__name__)


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
    """The email service has it, or it was printed.

    `about` are the recoveries that the email is about, `announced` those of which it says what end action follows.
    """

    message: Message
    sent: Sent
    about: tuple[RecoveryId, ...] = ()
    announced: frozenset[RecoveryId] = frozenset()


@dataclass(frozen=True, slots=True)
class NotSent:
    """The message was not sent. `look`: the invoice has changed, so the recovery has to be evaluated at once."""

    rule: (
        Unready
        | Unsent
        | Literal[
            "not_paid",
            "not_so",
            "account_restricted",
            "invoice_missing",
            "address_refused",
            "stopped",
            "news",
            "not_due",
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
    "account_restricted": "No message: the merchant's account may not charge now, whatever the customer does.",
    "invoice_missing": "No message: Stripe does not know the invoice.",
    "stopped": "No message: the recovery was stopped while it was written.",
    "news": "No message yet: something happened while it was written, which is looked at first.",
    "method_is_there": "No message: there is a payment method by now that is tried first.",
    "held": "No message: people say that nothing is to be done about it now.",
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

    Raises RetryLater, MerchantUnreachable, Refused and LeaseLost.
    """
    client = remote.stripe.for_merchant(due.account)
    sheets, left_out = await _sheets(client, due.parts)
    if not _wanted(due, sheets):
        return _none(sheets, left_out, NotSent("not_due"))
    account = await account_for_brand(client)
    if account.get("charges_enabled") is False:
        return _none(sheets, left_out, NotSent("account_restricted"))
    page = None
    if any(LINKS[each.draft.message] is Link.CARD for each in sheets.values()):
        until = max(part.dossier.window_ends for part in due.parts)
        page = await card_page(client, due.recipient.customer_id, f"card_page:{due.task_id}", until, remote.lease)
    for dossier in [part.dossier for part in due.parts if part.dossier.recovery_id in sheets]:
        refusal = await remote.permission.refusal(dossier.recovery_id, dossier.story.last_id)
        if refusal is not None:
            left_out[dossier.recovery_id] = _refused(refusal)
            del sheets[dossier.recovery_id]
    if not _wanted(due, sheets):
        return _none(sheets, left_out, NotSent("not_due"))
    unsubscribe = remote.email.unsubscribe_page(due.recipient)
    email = compose(tuple(sheets.values()), due.recipient, due.task_id, account, page, unsubscribe)
    if not isinstance(email, Email):
        return _none(sheets, left_out, NotSent(email))
    handed = await hand_over(remote, Message(email.kind), due.recipient, email)
    if isinstance(handed, Delivered):
        announced = frozenset(each for each, sheet in sheets.items() if sheet.draft.announces)
        return Told(replace(handed, about=tuple(sheets), announced=announced), left_out)
    return _none(sheets, left_out, handed) if isinstance(handed, NotSent) else handed


async def _sheets(
    client: stripe.StripeClient, parts: Sequence[Part]
) -> tuple[dict[RecoveryId, Sheet], dict[RecoveryId, NotSent]]:
    """What the email says about each invoice that is to be told of; and why of the others nothing is."""
    sheets: dict[RecoveryId, Sheet] = {}
    left_out: dict[RecoveryId, NotSent] = {}
    for part in parts:
        found = await _sheet(client, part)
        if isinstance(found, Sheet):
            sheets[part.dossier.recovery_id] = found
        else:
            left_out[part.dossier.recovery_id] = found
    return sheets, left_out


def _refused(refusal: str) -> NotSent:
    if refusal == UNREAD_NEWS:
        return NotSent("news", look=True)
    held = refusal in {recovery_model.LEFT_ALONE, recovery_model.COLLECTION_OFF}
    return NotSent("held" if held else "stopped")


def _wanted(due: Due, sheets: Mapping[RecoveryId, Sheet]) -> bool:
    """Whether an email is due about any of the invoices that are left."""
    return any(part.due and part.dossier.recovery_id in sheets for part in due.parts)


def _none(sheets: Mapping[RecoveryId, Sheet], left_out: Mapping[RecoveryId, NotSent], why: NotSent) -> Told:
    """No email, for one reason for all that were left."""
    return Told(left_out={**left_out, **dict.fromkeys(sheets, why)})


async def _sheet(client: stripe.StripeClient, part: Part) -> Sheet | NotSent:
    invoice = await _invoice(client, part.dossier.invoice_id)
    if isinstance(invoice, NotSent):
        return invoice
    draft = drafted(part, invoice, await _newer(client, part.dossier, invoice))
    if isinstance(draft, str):
        return NotSent(draft, look=draft in {"not_open", "over", "held", "method_is_there"})
    return NotSent("no_address") if address_of(invoice) is None else Sheet(draft, invoice)


async def _newer(client: stripe.StripeClient, dossier: Dossier, invoice: dict[str, Any]) -> tuple[InvoiceStatus, ...]:
    """The states of the subscription's newer invoices, where they may prevent an end action that is to be announced."""
    subscription_id, latest = dossier.subscription_id, read(Invoice.model_validate(invoice)).latest
    if dossier.policy.end_action not in ANNOUNCED or subscription_id is None or latest in {None, dossier.invoice_id}:
        return ()
    return tuple(newer_than(await stripe_calls.invoices_of(client, subscription_id), dossier.invoice_id))


async def _invoice(client: stripe.StripeClient, invoice_id: InvoiceId) -> dict[str, Any] | NotSent:
    try:
        return await stripe_calls.retrieve_invoice(client, invoice_id)
    except InvoiceMissing:
        return NotSent("invoice_missing", look=True)


async def deliver_after(remote: Remote, after: After) -> Delivered | NotSent | SilenceReason:
    """Send an email after the end, about those of the invoices of which it is true. Raises as `deliver`."""
    client = remote.stripe.for_merchant(after.account)
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
    account = await account_for_brand(client) if true else {}
    for recovery_id in tuple(true):
        if await remote.permission.left_alone(recovery_id):
            why = why or NotSent("held")
            del true[recovery_id]
    if not true:
        return why or NotSent("invoice_missing")
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


async def account_for_brand(client: stripe.StripeClient) -> dict[str, Any]:
    """Stripe's own JSON of the merchant's account; empty if the key may not read it: an email does without."""
    try:
        return await stripe_calls.own_account(client)
    except (MerchantUnreachable, Refused) as refused:
        log.warning("no_brand", reason=refused.reason)
        return {}


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
