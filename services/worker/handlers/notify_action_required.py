"""`notify_action_required`: one message to the customer of a recovery, and the next one queued.

What the message asks for is decided when it goes out, from the recovery's state at that moment; the invoice is read
first, so that nobody who has paid is asked to. The address comes from Stripe with that reading and is dropped with it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from services.worker import stripe_calls
from services.worker.amounts import readable
from services.worker.backoff import RetryPolicy
from services.worker.dunning import messages, store
from services.worker.dunning.dossier import Dossier
from services.worker.email import Email, Sent
from services.worker.errors import BadPayload, MerchantUnreachable, Refused
from services.worker.handler import Handler, Job, Payload, handles
from services.worker.invoices import Invoice, read
from services.worker.recovery import Decline, DeclineCause, InvoiceStatus, MessageKind, classify, next_message
from services.worker.remote import Remote
from services.worker.writing import write
from shared import recoveries, tasks
from shared.database import Connection
from shared.money import Money
from shared.recoveries import Entry
from shared.tasks import NewTask

SUBJECTS = {
    MessageKind.PAYMENT_FAILED: "Your payment did not go through",
    MessageKind.ACTION_REQUIRED: "Please confirm your payment",
    MessageKind.NEW_METHOD_NEEDED: "Please choose another way to pay",
}
# What a customer may be told of the reason; a thief is told nothing.
BECAUSE = {
    DeclineCause.INSUFFICIENT_FUNDS: " because the account did not have enough funds",
    DeclineCause.EXPIRED_CARD: " because the card has expired",
    DeclineCause.INCORRECT_DETAILS: " because the card's details are not right any more",
    DeclineCause.LIMIT_EXCEEDED: " because the card's limit was reached",
}
DECLINED = ": it was declined"


class NotifyPayload(Payload):
    """`kind` is what the message was queued for; what it will say is decided when it goes out."""

    invoice_id: str
    kind: MessageKind = MessageKind.PAYMENT_FAILED


@dataclass(frozen=True, slots=True)
class Silence:
    """No message now. `again` is when one is due, None when none follows."""

    why: str
    again: datetime | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """The message that is due. `because` ends the sentence that says that the payment failed."""

    account: str
    invoice_id: str
    kind: MessageKind
    because: str
    task_id: str


Plan = Silence | Write


@dataclass(frozen=True, slots=True)
class Messaged:
    """The message went out (or was printed)."""

    kind: MessageKind
    sent: Sent


@dataclass(frozen=True, slots=True)
class NotSent:
    """The message was not sent; `look` when the recovery has to be evaluated at once, for the truth has changed."""

    rule: Literal["not_open", "no_address", "no_page", "merchant_unreachable", "invoice_missing", "address_refused"]
    look: bool


Outcome = Silence | Messaged | NotSent

NOT_SENT = {
    "not_open": "No message: the invoice is not open any more.",
    "no_address": "No message: Stripe has no email address for the customer.",
    "no_page": "No message: the invoice has no page to pay on.",
    "merchant_unreachable": "No message: the merchant's account cannot be reached any more.",
    "invoice_missing": "No message: Stripe does not know the invoice.",
    "address_refused": "No message: the email service does not take the address.",
}


class _Customer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    email: str | None = None


class _Addressee(BaseModel):
    """Whom to write to: lives inside `perform` only."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    customer: _Customer | str | None = None
    customer_email: str | None = None
    account_name: str | None = None

    @property
    def address(self) -> str | None:
        """The customer's address of today, else the one that the invoice was made out to."""
        today = self.customer.email if isinstance(self.customer, _Customer) else None
        return today or self.customer_email


def because(decline: Decline | None) -> str:
    """What the customer is told of the reason: for a lost, stolen or suspected card that it was declined, no more."""
    if decline is None:
        return ""
    understood = classify(decline)
    return BECAUSE.get(understood.cause, DECLINED) if understood.customer_may_know else DECLINED


@handles("notify_action_required")
class NotifyActionRequired(Handler[NotifyPayload, Plan, Outcome]):
    """One message to one customer."""

    payload = NotifyPayload
    retry = RetryPolicy(base=timedelta(seconds=20), factor=2.5, longest=timedelta(hours=2))

    async def load(self, db: Connection, task: Job[NotifyPayload]) -> Plan:
        """Whether a message is due, and which."""
        if task.recovery_id is None:
            raise BadPayload("a notify_action_required names its recovery in recovery_id")
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            raise BadPayload("the recovery does not exist")
        if dossier.state.ended or dossier.stop_requested is not None:
            return Silence("the recovery has ended or is about to")
        if not dossier.merchant_active or dossier.account is None:
            return Silence("the merchant is gone")
        kind = messages.kind_now(dossier.state)
        due = _due(dossier, kind)
        if due is None or due > dossier.now:
            return Silence("no message is due", again=due)
        return Write(dossier.account, dossier.invoice_id, kind, because(dossier.last_decline), str(task.public_id))

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Read the invoice; write to its customer if it is still open."""
        if isinstance(plan, Silence):
            return plan
        client = remote.stripe.for_merchant(plan.account)
        try:
            found = await stripe_calls.retrieve_invoice(client, plan.invoice_id)
        except MerchantUnreachable:
            return NotSent("merchant_unreachable", look=True)
        except Refused as refused:
            if refused.status == 404:
                return NotSent("invoice_missing", look=True)
            raise
        email = compose(plan, found)
        if isinstance(email, NotSent):
            return email
        remote.lease.check()
        try:
            return Messaged(plan.kind, await remote.email.send(email))
        except Refused as refused:
            if refused.status == 422:
                return NotSent("address_refused", look=False)
            raise

    async def commit(self, db: Connection, task: Job[NotifyPayload], outcome: Outcome) -> None:
        """Tell it in the timeline, count it, and queue the next one; after an end nothing is queued."""
        if task.recovery_id is None:
            return
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            return
        match outcome:
            case Silence(again=again):
                if again is not None and not dossier.state.ended:
                    await _queue(db, dossier, messages.kind_now(dossier.state), again)
                return
            case NotSent(rule, look):
                await recoveries.record(db, dossier.recovery_id, Entry("not_messaged", rule, NOT_SENT[rule]))
                if look and not dossier.state.ended:
                    await _evaluate_now(db, dossier)
                return
            case Messaged(kind, sent):
                await _told(db, dossier, kind, sent)
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id) or dossier
        if dossier.state.ended or dossier.stop_requested is not None:
            return
        kind = messages.kind_now(dossier.state)
        due = _due(dossier, kind)
        if due is not None:
            await _queue(db, dossier, kind, due)


def compose(plan: Write, found: dict[str, Any]) -> Email | NotSent:
    """The email about an invoice as Stripe writes it, or why there is none."""
    reading, addressee = read(Invoice.model_validate(found)), _Addressee.model_validate(found)
    if reading.truth.paid or reading.truth.status is not InvoiceStatus.OPEN:
        return NotSent("not_open", look=True)
    if addressee.address is None:
        return NotSent("no_address", look=False)
    if reading.hosted_invoice_url is None:
        return NotSent("no_page", look=False)
    facts = {
        "amount": readable(reading.truth.amount_remaining),
        "business": addressee.account_name or "us",
        "because": plan.because,
        "link": reading.hosted_invoice_url,
    }
    text, html = write(plan.kind, facts)
    key = f"email:{plan.task_id}"
    return Email(plan.kind, addressee.address, SUBJECTS[plan.kind], text, html, key, plan.task_id)


def _due(dossier: Dossier, kind: MessageKind) -> datetime | None:
    return next_message(dossier.policy, dossier.opened_at, dossier.story.sent, kind, dossier.now)


async def _told(db: Connection, dossier: Dossier, kind: MessageKind, sent: Sent) -> None:
    number = len(dossier.story.sent) + 1
    detail = {"kind": kind, "number": number, "email_id": sent.provider_id}
    if sent.printed:
        entry = Entry("printed", "message_due", "A message was printed: there is no key for the email service.", detail)
        await recoveries.record(db, dossier.recovery_id, entry)
        return
    await recoveries.record(db, dossier.recovery_id, Entry("messaged", "message_due", _MESSAGED[kind], detail))
    one = Money(1, dossier.due.currency)
    await recoveries.book(db, dossier.merchant_id, "message", one, dossier.recovery_id)


_MESSAGED = {
    MessageKind.PAYMENT_FAILED: "The customer was told that the payment failed.",
    MessageKind.ACTION_REQUIRED: "The customer was asked to authenticate.",
    MessageKind.NEW_METHOD_NEEDED: "The customer was asked for another payment method.",
}


async def _queue(db: Connection, dossier: Dossier, kind: MessageKind, due: datetime) -> None:
    task = NewTask(
        dossier.merchant_id,
        messages.TASK_TYPE,
        {"kind": kind, "invoice_id": dossier.invoice_id},
        run_at=due,
        recovery_id=dossier.recovery_id,
        unique_key=messages.unique_key(dossier),
    )
    await tasks.enqueue(db, task)


async def _evaluate_now(db: Connection, dossier: Dossier) -> None:
    """The invoice is not what we thought: have the recovery looked at, now and not when its next step is due."""
    key = f"dunning_retry:{dossier.recovery_id}"
    queued = await store.pending(db, key)
    if queued is not None and queued[0] <= dossier.now:
        return
    await store.cancel_pending(db, key, "evaluated earlier")
    payload = {"invoice_id": dossier.invoice_id}
    task = NewTask(dossier.merchant_id, "dunning_retry", payload, recovery_id=dossier.recovery_id, unique_key=key)
    await tasks.enqueue(db, task)
