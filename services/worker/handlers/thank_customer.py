"""`thank_customer`: thanks a customer for what was paid, if there were messages about it before.

Queued when a recovery ends as recovered and its customer had got a message. It is sent at least a day after the last
email, once for all invoices that were paid in the meantime, and not while another invoice of the customer is open:
nobody is thanked and asked for money in one breath. After a week it is too late for thanks.
"""

from datetime import datetime, timedelta

from services.worker.dossier import store
from services.worker.dossier.dossier import Dossier
from services.worker.handler import Job, Nothing, handles
from services.worker.messages import store as messages_store
from services.worker.messages import turns
from services.worker.messages.after_end import AfterEndPayload, EmailAfterEnd
from services.worker.messages.campaign import ONE_DAY, Message
from services.worker.messages.delivery import After
from shared import recovery_tasks
from shared.database import Connection
from shared.ids import AccountId
from shared.recovery_model import EntryKind, RecoveryState
from shared.unsubscribe import Recipient

THANKS_WITHIN = timedelta(days=7)


@handles("thank_customer")
class ThankCustomer(EmailAfterEnd):
    """One thank-you."""

    told = EntryKind.THANKED
    rule = "recovered"
    said = "The customer was thanked for the payment."
    printed = "The thank-you was printed."

    async def plan(
        self, db: Connection, task: Job[AfterEndPayload], dossier: Dossier, account: AccountId, recipient: Recipient
    ) -> Nothing | After:
        """The email that is due now, and for which payments; else Nothing with the time when it is due."""
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

    async def put_off(self, db: Connection, dossier: Dossier, again: datetime | None) -> None:
        """Queue it for `again`."""
        await recovery_tasks.thank(db, dossier.merchant_id, dossier.recovery_id, dossier.invoice_id, again)


def _no_thanks(dossier: Dossier) -> str | None:
    """Why the customer is not thanked for this payment, now or later."""
    if dossier.state is not RecoveryState.RECOVERED:
        return "the recovery did not end as recovered"
    if not dossier.policy.thank_you:
        return "the policy says no thanks"
    return None if dossier.story.sent else "the customer never heard of it"
