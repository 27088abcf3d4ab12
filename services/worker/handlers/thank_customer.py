"""`thank_customer`: thanks a customer for what was paid, if there were messages about it before.

Queued when a recovery ends as recovered and its customer had got a message. It is sent at least a day after the last
email, once for all invoices that were paid in the meantime, and not while another invoice of the customer is open:
nobody is thanked and asked for money in one breath. After a week it is too late for thanks.
"""

from datetime import timedelta

from services.worker.backoff import RetryPolicy
from services.worker.dossier import store
from services.worker.dossier.dossier import Dossier
from services.worker.errors import BadPayload
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.messages import store as messages_store
from services.worker.messages import turns
from services.worker.messages.campaign import ONE_DAY, Message
from services.worker.messages.delivery import NOT_SENT, After, Delivered, NotSent, deliver_after
from services.worker.outside.mail_quota import check_quota
from services.worker.outside.remote import Remote
from shared import recoveries, recovery_tasks, silences
from shared.database import Connection
from shared.ids import AccountId, InvoiceId
from shared.money import Money
from shared.recovery_model import Entry, EntryKind, RecoveryState
from shared.silences import TEXTS, SilenceReason
from shared.unsubscribe import Recipient

THANKS_WITHIN = timedelta(days=7)


class ThankPayload(Payload):
    """The invoice that was paid. The recovery is in the task's `recovery_id`."""

    invoice_id: InvoiceId


Plan = Nothing | SilenceReason | After
Outcome = Nothing | SilenceReason | Delivered | NotSent


@handles("thank_customer")
class ThankCustomer(Handler[ThankPayload, Plan, Outcome]):
    """One thank-you."""

    payload = ThankPayload
    calls = ("stripe", "resend")
    retry = RetryPolicy(base=timedelta(seconds=20), factor=2.5, longest=timedelta(hours=2))
    locks_customer = True

    async def load(self, db: Connection, task: Job[ThankPayload]) -> Plan:
        """Decide whether the customer is thanked now, and for which payments."""
        if task.recovery_id is None:
            raise BadPayload("a thank_customer names its recovery in recovery_id")
        await check_quota(db)
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            raise BadPayload("the recovery does not exist")
        if dossier.account is None or dossier.customer_id is None:
            return Nothing("the merchant is gone, or the invoice has no customer")
        silence = await silences.find(db, dossier.merchant_id, dossier.customer_id)
        recipient = Recipient(dossier.merchant_id, dossier.customer_id)
        return silence or await _plan(db, task, dossier, dossier.account, recipient)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Send the email, about the invoices that are paid at Stripe, too."""
        return await deliver_after(remote, plan) if isinstance(plan, After) else plan

    async def commit(self, db: Connection, task: Job[ThankPayload], outcome: Outcome) -> None:
        """Add it to the timelines and the ledger; or queue it again for when its time has come."""
        if task.recovery_id is None:
            return
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is not None and dossier.customer_id is not None:
            recipient = Recipient(dossier.merchant_id, dossier.customer_id)
            await turns.give_back(db, recipient, task.claimed, written=isinstance(outcome, Delivered))
        match outcome:
            case Nothing(again=None):
                return
            case Nothing(again=again):
                await recovery_tasks.thank(db, task.merchant_id, task.recovery_id, task.payload.invoice_id, again)
            case SilenceReason():
                await recoveries.record(db, task.recovery_id, Entry(EntryKind.NOT_MESSAGED, outcome, TEXTS[outcome]))
            case NotSent(rule):
                await recoveries.record(db, task.recovery_id, Entry(EntryKind.NOT_MESSAGED, rule, NOT_SENT[rule]))
            case Delivered():
                await _thanked(db, dossier, outcome)


async def _thanked(db: Connection, dossier: Dossier | None, delivered: Delivered) -> None:
    """Enter the email into the timeline of each recovery that it is about, and once into the ledger."""
    sent = delivered.sent
    text = "The thank-you was printed." if sent.printed else "The customer was thanked for the payment."
    detail = {"message": delivered.message, "email_id": sent.provider_id}
    for recovery_id in delivered.about:
        await recoveries.record(db, recovery_id, Entry(EntryKind.THANKED, "recovered", text, detail))
    if dossier is not None and not sent.printed:
        one = Money(1, dossier.due.currency)
        await recoveries.book(db, dossier.merchant_id, "message", one, dossier.recovery_id)


async def _plan(
    db: Connection, task: Job[ThankPayload], dossier: Dossier, account: AccountId, recipient: Recipient
) -> Nothing | After:
    """The email that is due now, with the customer's turn taken; else Nothing with the time when it is due."""
    no_thanks = _no_thanks(dossier)
    if no_thanks is not None:
        return Nothing(no_thanks)
    turn = await turns.ask(db, recipient, task.claimed)
    paid = await messages_store.unthanked(db, recipient, THANKS_WITHIN)
    if dossier.recovery_id not in paid:
        return Nothing("the customer was thanked together with another payment, or it is too late for thanks")
    if await messages_store.others_of_customer(db, recipient, dossier.recovery_id):
        return Nothing("another invoice of the customer is open", again=dossier.now + ONE_DAY)
    earliest = turn.free_from(dossier.now, dossier.story.sent)
    if earliest > dossier.now:
        return Nothing("the last email is less than a day old", again=earliest)
    invoices = {dossier.recovery_id: dossier.invoice_id}
    for recovery_id in turn.ours or paid:
        other = await store.open_dossier(db, dossier.merchant_id, recovery_id)
        if other is not None and _no_thanks(other) is None:
            invoices.setdefault(recovery_id, other.invoice_id)
    await turns.take(db, recipient, task.claimed, tuple(invoices))
    return After(account, recipient, str(task.public_id), Message.RECOVERED, invoices)


def _no_thanks(dossier: Dossier) -> str | None:
    """Why the customer is not thanked for this payment, now or later."""
    if dossier.state is not RecoveryState.RECOVERED or not dossier.merchant_active:
        return "the recovery did not end as recovered, or the merchant is gone"
    if not dossier.policy.thank_you:
        return "the policy says no thanks"
    return None if dossier.story.sent else "the customer never heard of it"
