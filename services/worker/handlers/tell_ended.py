"""`tell_ended`: tells a customer that their subscription has ended, or is paused, for lack of payment.

Queued when an end action was carried out on the subscription, if the policy says so. The email says what the customer
can do. It is sent only while the subscription is in fact canceled or paused, and the invoice not paid.
"""

from datetime import timedelta

from services.worker.backoff import RetryPolicy
from services.worker.dossier import store
from services.worker.dossier.dossier import Dossier
from services.worker.errors import BadPayload
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.messages import turns
from services.worker.messages.campaign import Message
from services.worker.messages.delivery import NOT_SENT, After, Delivered, NotSent, deliver_after
from services.worker.outside.mail_quota import check_quota
from services.worker.outside.remote import Remote
from shared import recoveries, recovery_tasks, silences
from shared.database import Connection
from shared.ids import AccountId, InvoiceId
from shared.money import Money
from shared.recovery_model import Entry, EntryKind
from shared.silences import TEXTS, SilenceReason
from shared.unsubscribe import Recipient

# An email that could not go out for so long would be no news.
NEWS_WITHIN = timedelta(days=7)


class EndedPayload(Payload):
    """The invoice that was not paid. The recovery is in the task's `recovery_id`."""

    invoice_id: InvoiceId


Plan = Nothing | SilenceReason | After
Outcome = Nothing | SilenceReason | Delivered | NotSent


@handles("tell_ended")
class TellEnded(Handler[EndedPayload, Plan, Outcome]):
    """One email about one end."""

    payload = EndedPayload
    calls = ("stripe", "resend")
    retry = RetryPolicy(base=timedelta(seconds=20), factor=2.5, longest=timedelta(hours=2))
    locks_customer = True

    async def load(self, db: Connection, task: Job[EndedPayload]) -> Plan:
        """Decide whether the customer is told now."""
        if task.recovery_id is None:
            raise BadPayload("a tell_ended names its recovery in recovery_id")
        await check_quota(db)
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            raise BadPayload("the recovery does not exist")
        if dossier.account is None or dossier.customer_id is None or not dossier.merchant_active:
            return Nothing("the merchant is gone, or the invoice has no customer")
        silence = await silences.find(db, dossier.merchant_id, dossier.customer_id)
        recipient = Recipient(dossier.merchant_id, dossier.customer_id)
        return silence or await _plan(db, task, dossier, dossier.account, recipient)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Send the email, if it is so at Stripe, too."""
        return await deliver_after(remote, plan) if isinstance(plan, After) else plan

    async def commit(self, db: Connection, task: Job[EndedPayload], outcome: Outcome) -> None:
        """Add it to the timeline and the ledger; or queue it again for when its time has come."""
        if task.recovery_id is None:
            return
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            return
        if dossier.customer_id is not None:
            recipient = Recipient(dossier.merchant_id, dossier.customer_id)
            await turns.give_back(db, recipient, task.claimed, written=isinstance(outcome, Delivered))
        match outcome:
            case Nothing(again=None):
                return
            case Nothing(again=again):
                await recovery_tasks.tell_ended(db, task.merchant_id, task.recovery_id, dossier.invoice_id, again)
            case SilenceReason():
                await recoveries.record(db, task.recovery_id, Entry(EntryKind.NOT_MESSAGED, outcome, TEXTS[outcome]))
            case NotSent(rule):
                await recoveries.record(db, task.recovery_id, Entry(EntryKind.NOT_MESSAGED, rule, NOT_SENT[rule]))
            case Delivered(message, sent):
                text = "The email about the end was printed." if sent.printed else "The customer was told of the end."
                detail = {"message": message, "email_id": sent.provider_id}
                await recoveries.record(db, task.recovery_id, Entry(EntryKind.END_TOLD, "ended", text, detail))
                if not sent.printed:
                    one = Money(1, dossier.due.currency)
                    await recoveries.book(db, task.merchant_id, "message", one, task.recovery_id)


async def _plan(
    db: Connection, task: Job[EndedPayload], dossier: Dossier, account: AccountId, recipient: Recipient
) -> Nothing | After:
    ended = next((row.at for row in dossier.story.rows if row.kind == EntryKind.END_ACTION), None)
    if ended is None or dossier.now - ended > NEWS_WITHIN:
        return Nothing("there was no end action, or it is no news any more")
    if any(row.kind == EntryKind.END_TOLD for row in dossier.story.rows):
        return Nothing("the customer was told before")
    turn = await turns.ask(db, recipient, task.claimed)
    earliest = turn.free_from(dossier.now, dossier.story.sent)
    if earliest > dossier.now:
        return Nothing("the last email is less than a day old", again=earliest)
    await turns.take(db, recipient, task.claimed, [dossier.recovery_id])
    invoices = {dossier.recovery_id: dossier.invoice_id}
    return After(account, recipient, str(task.public_id), Message.ENDED, invoices, ended)
