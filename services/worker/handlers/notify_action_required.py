"""`notify_action_required`: one message to the customer of a recovery, and the next one queued.

What the message asks for is decided when it is sent, from the recovery's state at that moment; a customer who has
unsubscribed by then gets none. The invoice is read first, so that nobody who has paid is asked to pay. The address, the
language and the merchant's brand come from Stripe with that reading and are dropped with it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.worker.backoff import RetryPolicy
from services.worker.dossier import next_message as messages
from services.worker.dossier import store, window
from services.worker.dossier.dossier import Dossier
from services.worker.errors import BadPayload
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.messages.campaign import Message, free_from, message_for
from services.worker.messages.delivery import NOT_SENT, Delivered, Due, NotSent, deliver
from services.worker.messages.sending import Draft
from services.worker.outside.remote import Remote
from services.worker.recovery import (
    Decline,
    DeclineCause,
    MessageKind,
    SentMessage,
    classify,
)
from shared import recoveries, recovery_tasks, silences
from shared.database import Connection
from shared.ids import AccountId, CustomerId, InvoiceId
from shared.money import Money
from shared.recovery_model import Entry, EntryKind, RecoveryState
from shared.silences import TEXTS, SilenceReason
from shared.unsubscribe import Recipient

# The reason that a customer may be told, as it is named in the texts. A thief must learn nothing.
BECAUSE = {
    DeclineCause.INSUFFICIENT_FUNDS: "insufficient_funds",
    DeclineCause.EXPIRED_CARD: "expired_card",
    DeclineCause.INCORRECT_DETAILS: "incorrect_details",
    DeclineCause.LIMIT_EXCEEDED: "limit_exceeded",
}
DECLINED = "declined"


class NotifyPayload(Payload):
    """`kind` is what the message was queued for; what it asks for is decided when it is sent."""

    invoice_id: InvoiceId
    kind: MessageKind = MessageKind.PAYMENT_FAILED


@dataclass(frozen=True, slots=True)
class Write:
    """The message that is due, and its kind."""

    kind: MessageKind
    due: Due


Plan = Nothing | SilenceReason | Write


@dataclass(frozen=True, slots=True)
class Messaged:
    """The message was sent (or printed)."""

    kind: MessageKind
    delivered: Delivered


Outcome = Nothing | SilenceReason | Messaged | NotSent


def because(decline: Decline | None) -> str | None:
    """The reason that the customer is told; for a lost, stolen or suspected card only that it was declined."""
    if decline is None:
        return None
    understood = classify(decline)
    return BECAUSE.get(understood.cause, DECLINED) if understood.customer_may_know else DECLINED


@handles("notify_action_required")
class NotifyActionRequired(Handler[NotifyPayload, Plan, Outcome]):
    """One message to one customer."""

    payload = NotifyPayload
    calls = ("stripe", "resend")
    retry = RetryPolicy(base=timedelta(seconds=20), factor=2.5, longest=timedelta(hours=2))

    async def load(self, db: Connection, task: Job[NotifyPayload]) -> Plan:
        """Decide whether a message is due, and which."""
        if task.recovery_id is None:
            raise BadPayload("a notify_action_required names its recovery in recovery_id")
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            raise BadPayload("the recovery does not exist")
        if dossier.state.ended or dossier.stop_requested is not None:
            return Nothing("the recovery has ended or is about to")
        dossier = await window.lengthen(db, dossier, task)
        if dossier.state is RecoveryState.PROCESSING:
            return Nothing("a payment is under way: its end decides")
        if not dossier.merchant_active or dossier.account is None:
            return Nothing("the merchant is gone")
        if dossier.customer_id is None:
            return Nothing("the invoice has no customer")
        if dossier.in_holdout or dossier.left_alone:
            return Nothing("the invoice is of the holdout, or the customer or the subscription is left alone")
        # The recovery is locked: a silence either commits before this, or waits for this transaction.
        silence = await silences.find(db, dossier.merchant_id, dossier.customer_id)
        return silence or _plan(dossier, dossier.account, dossier.customer_id, str(task.public_id))

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Read the invoice and the brand; write to the customer if the invoice is still open."""
        if not isinstance(plan, Write):
            return plan
        result = await deliver(remote, plan.due)
        return Messaged(plan.kind, result) if isinstance(result, Delivered) else result

    async def commit(self, db: Connection, task: Job[NotifyPayload], outcome: Outcome) -> None:
        """Add it to the timeline and the ledger, and queue the next message, unless the recovery has ended."""
        if task.recovery_id is None:
            return
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            return
        match outcome:
            case Nothing(again=again):
                if again is not None and not dossier.state.ended:
                    await messages.queue(db, dossier, messages.kind_now(dossier.state), again)
                return
            case SilenceReason():
                if all((row.kind, row.rule) != (EntryKind.NOT_MESSAGED, outcome) for row in dossier.story.rows):
                    await recoveries.record(
                        db, dossier.recovery_id, Entry(EntryKind.NOT_MESSAGED, outcome, TEXTS[outcome])
                    )
                return
            case NotSent(rule, look):
                await recoveries.record(db, dossier.recovery_id, Entry(EntryKind.NOT_MESSAGED, rule, NOT_SENT[rule]))
                if look and not dossier.state.ended:
                    await recovery_tasks.evaluate_now(db, dossier.merchant_id, dossier.recovery_id, dossier.invoice_id)
                return
            case Messaged():
                await _told(db, dossier, outcome)
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id) or dossier
        if dossier.state.ended or dossier.stop_requested is not None:
            return
        kind = messages.kind_now(dossier.state)
        due = dossier.message_due(kind)
        if due is not None:
            await messages.queue(db, dossier, kind, due)


def _plan(dossier: Dossier, account: AccountId, customer_id: CustomerId, task_id: str) -> Nothing | Write:
    """The message that is due now; else Nothing with the time when one is due."""
    kind, sent = messages.kind_now(dossier.state), dossier.story.sent
    due = dossier.message_due(kind)
    if due is None or due > dossier.now:
        return Nothing("no message is due", again=due)
    if messages.withheld(dossier, kind):
        return Nothing("the merchant's own rules refused the payment")
    following = dossier.message_due(kind, besides=(SentMessage(kind, dossier.now),))
    message = message_for(kind, sent, last=following is None)
    earliest = free_from(message, sent)
    if earliest is not None and earliest > dossier.now:
        return Nothing("the last message is less than a day old", again=earliest)
    until = dossier.window_ends
    planned = dossier.next_attempt_at if dossier.state is RecoveryState.WAITING else None
    draft = Draft(
        message=message,
        recipient=Recipient(dossier.merchant_id, customer_id),
        task_id=task_id,
        recovery_id=dossier.recovery_id,
        because=because(dossier.last_decline),
        again=kind is not MessageKind.PAYMENT_FAILED and any(each.kind is kind for each in sent),
        retry_at=planned if planned is not None and planned > dossier.now else None,
        until=until,
        end_action=dossier.policy.end_action,
        failed_method=dossier.attempts[-1].past.payment_method_id if dossier.attempts else None,
        pause_is_ours=dossier.paused_by_us,
    )
    return Write(kind, Due(account, dossier.invoice_id, draft, until))


def _following(dossier: Dossier, kind: MessageKind) -> datetime | None:
    """When the message after this one is due, by what is known now."""
    if dossier.state.ended or dossier.stop_requested is not None:
        return None
    return dossier.message_due(messages.kind_now(dossier.state), besides=(SentMessage(kind, dossier.now),))


async def _told(db: Connection, dossier: Dossier, messaged: Messaged) -> None:
    number, sent = len(dossier.story.sent) + 1, messaged.delivered.sent
    detail = {
        "kind": messaged.kind,
        "message": messaged.delivered.message,
        "number": number,
        "email_id": sent.provider_id,
    }
    text = _MESSAGED[messaged.delivered.message]
    if sent.printed:
        text = "A message was printed: there is no key for the email service."
    reason = {
        "rule": "message_due",
        "text": text,
        "inputs": {**detail, "state": dossier.state, "opened_at": dossier.opened_at.isoformat()},
        "considered": [
            {"action": "wait", "rejected_because": "it is due by the policy's days, or the first that asks for this"},
            {"action": "no_message", "rejected_because": "the invoice was read and is open, the customer not silenced"},
        ],
    }
    following = _following(dossier, messaged.kind)
    step = "no further message" if following is None else "the next message"
    kind = EntryKind.PRINTED if sent.printed else EntryKind.MESSAGED
    entry = Entry(kind, "message_due", text, {**detail, "reason": reason}, step, following)
    await recoveries.record(db, dossier.recovery_id, entry)
    if sent.printed:
        return
    one = Money(1, dossier.due.currency)
    await recoveries.book(db, dossier.merchant_id, "message", one, dossier.recovery_id)


_MESSAGED = {
    Message.PAYMENT_FAILED: "The customer was told that the payment failed.",
    Message.REMINDER: "The customer was reminded of the payment.",
    Message.LAST_NOTICE: "The customer was reminded of the payment for the last time.",
    Message.ACTION_REQUIRED: "The customer was asked to authenticate.",
    Message.NEW_METHOD_NEEDED: "The customer was asked for another payment method.",
}
