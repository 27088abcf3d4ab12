"""`notify_action_required`: one email to the customer of a recovery, and the next one queued.

What the email asks for is decided when it is sent, from the recoveries' states at that moment; a customer who has
unsubscribed by then gets none. It is about all open invoices of the customer, each with its own kind: the other
recoveries' messages count as sent. Each invoice is read first, so that nobody who has paid is asked to pay. The
address, the language and the merchant's brand come from Stripe with that reading and are dropped with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.worker.backoff import RetryPolicy
from services.worker.dossier import next_message as messages
from services.worker.dossier import store, window
from services.worker.dossier.dossier import Dossier
from services.worker.errors import BadPayload
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.messages import store as messages_store
from services.worker.messages import turns
from services.worker.messages.campaign import ONE_DAY, Message
from services.worker.messages.delivery import NOT_SENT, Delivered, Due, NotSent, Told, deliver
from services.worker.messages.drafting import Part
from services.worker.outside.mail_quota import check_quota
from services.worker.outside.remote import Remote
from services.worker.recovery import MessageKind, Moment, SentMessage
from shared import recoveries, recovery_tasks, silences
from shared.database import Connection
from shared.ids import AccountId, InvoiceId, RecoveryId
from shared.money import Money
from shared.recovery_model import ADDRESS_CHANGED, Entry, EntryKind, RecoveryState
from shared.silences import TEXTS, SilenceReason
from shared.unsubscribe import Recipient

# The states in which something is asked for, or a retry is ahead. In the others it is not known yet what to tell.
TELLING = frozenset({RecoveryState.WAITING, RecoveryState.ACTION_REQUIRED, RecoveryState.NEEDS_NEW_METHOD})
# An invoice that fails with others is evaluated within moments; one that is not, for whatever reason, holds up nobody.
EVALUATED_WITHIN = timedelta(minutes=15)
_LOOKED_WITHIN = timedelta(hours=1)
# More than so many invoices are not named in one email; the rest come in the next day's.
MOST_TOGETHER = 20
# Looked at again a day later: for the brain nothing has changed, so an evaluation would only queue the same message.
PENDING = frozenset({"not_final", "under_way"})


class NotifyPayload(Payload):
    """`kind` is what the message was queued for; what it asks for is decided when it is sent."""

    invoice_id: InvoiceId
    kind: MessageKind = MessageKind.PAYMENT_FAILED


@dataclass(frozen=True, slots=True)
class Write:
    """The email that is due, and what each of its recoveries is told for."""

    due: Due
    kinds: Mapping[RecoveryId, MessageKind]


@dataclass(frozen=True, slots=True)
class Messaged:
    """What became of the email. `last_ids` are the last rows of the timelines that it was written from."""

    told: Told
    kinds: Mapping[RecoveryId, MessageKind]
    last_ids: Mapping[RecoveryId, int]


Plan = Nothing | SilenceReason | Write
Outcome = Nothing | SilenceReason | Messaged


@handles("notify_action_required")
class NotifyActionRequired(Handler[NotifyPayload, Plan, Outcome]):
    """One email to one customer."""

    payload = NotifyPayload
    calls = ("stripe", "resend")
    retry = RetryPolicy(base=timedelta(seconds=20), factor=2.5, longest=timedelta(hours=2))
    locks_customer = True

    async def load(self, db: Connection, task: Job[NotifyPayload]) -> Plan:
        """Decide whether an email is due, and about which recoveries."""
        if task.recovery_id is None:
            raise BadPayload("a notify_action_required names its recovery in recovery_id")
        await check_quota(db)
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
        recipient = Recipient(dossier.merchant_id, dossier.customer_id)
        return silence or await _plan(db, task, dossier, dossier.account, recipient)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Read the invoices and the brand; write to the customer about those that are still open."""
        if not isinstance(plan, Write):
            return plan
        told = await deliver(remote, plan.due)
        if isinstance(told, SilenceReason):
            return told
        last_ids = {part.dossier.recovery_id: part.dossier.story.last_id for part in plan.due.parts}
        return Messaged(told, plan.kinds, last_ids)

    async def commit(self, db: Connection, task: Job[NotifyPayload], outcome: Outcome) -> None:
        """Add it to the timelines and the ledger, and queue the next message, unless the recovery has ended."""
        if task.recovery_id is None:
            return
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            return
        await _give_back(db, task, dossier, outcome)
        match outcome:
            case Nothing(again=again):
                await _queue(db, dossier, again)
            case SilenceReason():
                if all((row.kind, row.rule) != (EntryKind.NOT_MESSAGED, outcome) for row in dossier.story.rows):
                    await recoveries.record(
                        db, dossier.recovery_id, Entry(EntryKind.NOT_MESSAGED, outcome, TEXTS[outcome])
                    )
            case Messaged(told, kinds, last_ids):
                await _told(db, task, told, kinds)
                for recovery_id, why in told.left_out.items():
                    await _left_out(db, task, recovery_id, why, last_ids[recovery_id])


async def _plan(
    db: Connection, task: Job[NotifyPayload], dossier: Dossier, account: AccountId, recipient: Recipient
) -> Nothing | Write:
    """The email that is due now, with the customer's turn taken; else Nothing with the time when one is due."""
    turn = await turns.ask(db, recipient, task.claimed)
    lead = _part(dossier)
    # In another try the email may be out already: it is handed over again, under the same key, whatever the hour.
    due = _due(dossier, begun=bool(turn.ours))
    if lead is None or due is None or due > dossier.now:
        return Nothing("no message is due", again=None if lead is None else due)
    planned_at = dossier.next_attempt_at if dossier.attempt_is_due else None
    if planned_at is not None and dossier.now - planned_at < EVALUATED_WITHIN:
        return Nothing("an attempt is about to be made: its outcome says what to write", again=dossier.now + turns.SOON)
    hurries = lead.kind is MessageKind.ACTION_REQUIRED and all(m.kind is not lead.kind for m in dossier.story.sent)
    earliest = turn.free_from(dossier.now, dossier.story.sent, hurries=hurries)
    if earliest > dossier.now:
        return Nothing("the customer is being written to, or was within the day", again=earliest)
    others = await messages_store.others_of_customer(db, recipient, dossier.recovery_id)
    if any(
        state in {RecoveryState.OPEN, RecoveryState.ATTEMPTING} and dossier.now - changed_at < EVALUATED_WITHIN
        for _, state, changed_at in others
    ):
        return Nothing("another invoice of the customer is about to be evaluated", again=dossier.now + turns.SOON)
    # In another try the email is the same: about what it was about.
    named = turn.ours or [recovery_id for recovery_id, state, _ in others if state in TELLING]
    parts = [replace(lead, due=True)]
    for recovery_id in named:
        other = await _other(db, recipient, recovery_id) if recovery_id != dossier.recovery_id else None
        if other is not None and len(parts) < MOST_TOGETHER:
            parts.append(other)
    await turns.take(db, recipient, task.claimed, [part.dossier.recovery_id for part in parts])
    return Write(
        Due(account, recipient, str(task.public_id), tuple(parts)),
        {part.dossier.recovery_id: part.kind for part in parts},
    )


def _part(dossier: Dossier) -> Part | None:
    """What the recovery's customer is told for; None if there is nothing to tell."""
    kind = messages.kind_now(dossier.state)
    nothing = dossier.stop_requested is not None or dossier.in_holdout or bool(dossier.left_alone)
    if nothing or messages.withheld(dossier, kind):
        return None
    return Part(dossier, kind, due=False)


async def _other(db: Connection, recipient: Recipient, recovery_id: RecoveryId) -> Part | None:
    """Another recovery that the email names: one whose messages have begun, or begin within a day, and are not over."""
    dossier = await store.open_dossier(db, recipient.merchant_id, recovery_id)
    if dossier is None or dossier.state not in TELLING:
        return None
    part, due = _part(dossier), _due(dossier)
    if part is None or due is None:
        return None
    if not dossier.story.sent and due > dossier.now + ONE_DAY:
        return None
    return replace(part, due=due <= dossier.now)


def _due(dossier: Dossier, *, begun: bool = False) -> datetime | None:
    return dossier.message_due(messages.kind_now(dossier.state), begun=begun)


def _following(dossier: Dossier, kind: MessageKind) -> Moment | None:
    """When the message after this one goes out, by what is known now."""
    if dossier.state.ended or dossier.stop_requested is not None:
        return None
    return dossier.message_moment(messages.kind_now(dossier.state), besides=(SentMessage(kind, dossier.now),))


async def _give_back(db: Connection, task: Job[NotifyPayload], dossier: Dossier, outcome: Outcome) -> None:
    if dossier.customer_id is None:
        return
    about = [outcome.kinds[each] for each in outcome.told.about] if isinstance(outcome, Messaged) else []
    asked = MessageKind.ACTION_REQUIRED in about
    recipient = Recipient(dossier.merchant_id, dossier.customer_id)
    await turns.give_back(db, recipient, task.claimed, written=bool(about), asked=asked)


async def _queue(db: Connection, dossier: Dossier, at: datetime | None) -> None:
    """Queue the next message for this time, unless there is none."""
    if at is not None and not dossier.state.ended and dossier.stop_requested is None:
        await messages.queue(db, dossier, messages.kind_now(dossier.state), at)


async def _left_out(
    db: Connection, task: Job[NotifyPayload], recovery_id: RecoveryId, why: NotSent, last_id: int
) -> None:
    """Say why a recovery was not written about, and what follows from that. One that came along needs no word."""
    dossier = await store.open_dossier(db, task.merchant_id, recovery_id)
    if dossier is None:
        return
    if recovery_id == task.recovery_id:
        await recoveries.record(db, recovery_id, Entry(EntryKind.NOT_MESSAGED, why.rule, NOT_SENT[why.rule]))
        if why.rule in PENDING:
            await _queue(db, dossier, dossier.now + ONE_DAY)
    if why.look and not dossier.state.ended:
        if _was_looked_at(dossier, why):
            await _queue(db, dossier, dossier.now + ONE_DAY)
        else:
            await recovery_tasks.evaluate_now(db, dossier.merchant_id, dossier.recovery_id, dossier.invoice_id)
    elif any(row.rule == ADDRESS_CHANGED and row.id > last_id for row in dossier.story.rows):
        await _queue(db, dossier, dossier.now)  # the address came while the old one was read


def _was_looked_at(dossier: Dossier, why: NotSent) -> bool:
    """Whether an evaluation has just looked for this reason, and the message came out the same: they read the invoice
    in two ways, and must not send each other round."""
    since = dossier.now - _LOOKED_WITHIN
    return any(
        (row.kind, row.rule) == (EntryKind.NOT_MESSAGED, why.rule) for row in dossier.story.rows if row.at > since
    )


async def _told(db: Connection, task: Job[NotifyPayload], told: Told, kinds: Mapping[RecoveryId, MessageKind]) -> None:
    """Enter the email into the timeline of each recovery that it is about, and once into the ledger."""
    if told.delivered is None:
        return
    for number, recovery_id in enumerate(told.delivered.about):
        dossier = await store.open_dossier(db, task.merchant_id, recovery_id)
        if dossier is None:
            continue
        await recoveries.record(db, recovery_id, _entry(dossier, told.delivered, kinds[recovery_id]))
        if number == 0 and not told.delivered.sent.printed:
            await recoveries.book(db, dossier.merchant_id, "message", Money(1, dossier.due.currency), recovery_id)
        after = await store.open_dossier(db, task.merchant_id, recovery_id)
        if after is not None and recovery_id == task.recovery_id and after.state in TELLING:
            await _queue(db, after, _due(after))


def _entry(dossier: Dossier, delivered: Delivered, kind: MessageKind) -> Entry:
    sent = delivered.sent
    detail = {
        "kind": kind,
        "message": delivered.message,
        "number": len(dossier.story.sent) + 1,
        "email_id": sent.provider_id,
        "announced": dossier.recovery_id in delivered.announced,
    }
    if len(delivered.about) > 1:
        detail["invoices"] = len(delivered.about)
    text = _MESSAGED[delivered.message]
    if sent.printed:
        text = "A message was printed: there is no key for the email service."
    waited = messages.why_not_before(dossier, kind)
    reason = {
        "rule": "message_due",
        "text": text,
        "inputs": {**detail, "state": dossier.state, "opened_at": dossier.opened_at.isoformat()},
        "considered": [
            {"action": "wait", "rejected_because": "it is due by the policy's days, or the first that asks for this"},
            {"action": "no_message", "rejected_because": "the invoice was read and is open, the customer not silenced"},
            *([] if waited is None else [{"action": "message_when_due", "rejected_because": waited}]),
        ],
    }
    following = _following(dossier, kind)
    step = "no further message" if following is None else messages.announced(following)
    entry_kind = EntryKind.PRINTED if sent.printed else EntryKind.MESSAGED
    at = None if following is None else following.at
    return Entry(entry_kind, "message_due", text, {**detail, "reason": reason}, step, at)


_MESSAGED = {
    Message.PAYMENT_FAILED: "The customer was told that the payment failed.",
    Message.REMINDER: "The customer was reminded of the payment.",
    Message.LAST_NOTICE: "The customer was reminded of the payment for the last time.",
    Message.ACTION_REQUIRED: "The customer was asked to authenticate.",
    Message.NEW_METHOD_NEEDED: "The customer was asked for another payment method.",
    Message.SEVERAL: "The customer was written to about this and other open invoices, in one email.",
}
