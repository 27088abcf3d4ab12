"""`thank_customer`: thanks a customer for a payment, if there were messages about it before.

Queued when a recovery ends as recovered and its customer had got a message. It is sent at least a day after the last
message, and is the last one.
"""

from datetime import timedelta

from services.worker.backoff import RetryPolicy
from services.worker.dossier import store
from services.worker.dossier.dossier import Dossier
from services.worker.errors import BadPayload
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.messages.campaign import Message, free_from
from services.worker.messages.delivery import NOT_SENT, Delivered, Due, NotSent, deliver
from services.worker.messages.sending import Draft
from services.worker.outside.mail_quota import check_quota
from services.worker.outside.remote import Remote
from shared import recoveries, recovery_tasks, silences
from shared.database import Connection
from shared.ids import AccountId, InvoiceId
from shared.money import Money
from shared.recovery_model import Entry, EntryKind, RecoveryState
from shared.silences import TEXTS, SilenceReason
from shared.unsubscribe import Recipient


class ThankPayload(Payload):
    """The invoice that was paid. The recovery is in the task's `recovery_id`."""

    invoice_id: InvoiceId


Plan = Nothing | SilenceReason | Due
Outcome = Nothing | SilenceReason | Delivered | NotSent


@handles("thank_customer")
class ThankCustomer(Handler[ThankPayload, Plan, Outcome]):
    """One thank-you."""

    payload = ThankPayload
    calls = ("stripe", "resend")
    retry = RetryPolicy(base=timedelta(seconds=20), factor=2.5, longest=timedelta(hours=2))

    async def load(self, db: Connection, task: Job[ThankPayload]) -> Plan:
        """Decide whether the customer is thanked now."""
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
        return silence or _plan(dossier, dossier.account, recipient, str(task.public_id))

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Send the email, if the invoice is paid at Stripe, too."""
        return await deliver(remote, plan) if isinstance(plan, Due) else plan

    async def commit(self, db: Connection, task: Job[ThankPayload], outcome: Outcome) -> None:
        """Add it to the timeline and the ledger; or queue it again for when a day has passed."""
        if task.recovery_id is None:
            return
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
                await self._told(db, task, outcome)

    async def _told(self, db: Connection, task: Job[ThankPayload], delivered: Delivered) -> None:
        if task.recovery_id is None:
            return
        sent = delivered.sent
        text = "The thank-you was printed." if sent.printed else "The customer was thanked for the payment."
        detail = {"message": delivered.message, "email_id": sent.provider_id}
        await recoveries.record(db, task.recovery_id, Entry(EntryKind.THANKED, "recovered", text, detail))
        if not sent.printed:
            dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
            if dossier is not None:
                one = Money(1, dossier.due.currency)
                await recoveries.book(db, task.merchant_id, "message", one, task.recovery_id)


def _plan(dossier: Dossier, account: AccountId, recipient: Recipient, task_id: str) -> Nothing | Due:
    """The message that is due now; else Nothing with the time when it is due."""
    if dossier.state is not RecoveryState.RECOVERED or not dossier.merchant_active:
        return Nothing("the recovery did not end as recovered, or the merchant is gone")
    if not dossier.policy.thank_you:
        return Nothing("the policy says no thanks")
    earliest = free_from(Message.RECOVERED, dossier.story.sent)
    if earliest is None:
        return Nothing("the customer never heard of it")
    if earliest > dossier.now:
        return Nothing("the last message is less than a day old", again=earliest)
    draft = Draft(Message.RECOVERED, recipient, task_id, dossier.recovery_id)
    return Due(account, dossier.invoice_id, draft, dossier.now)
