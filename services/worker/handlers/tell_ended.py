"""`tell_ended`: tells a customer that their subscription has ended, or is paused, for lack of payment.

Queued when an end action was carried out on the subscription, if the policy says so. The email says what the customer
can do. It is sent only while the subscription is in fact canceled or paused, and the invoice not paid.
"""

from datetime import datetime, timedelta

from services.worker.dossier.dossier import Dossier
from services.worker.handler import Job, Nothing, handles
from services.worker.messages import turns
from services.worker.messages.after_end import AfterEndPayload, EmailAfterEnd
from services.worker.messages.campaign import Message
from services.worker.messages.delivery import After
from shared import recovery_tasks
from shared.database import Connection
from shared.ids import AccountId
from shared.recovery_model import EntryKind
from shared.unsubscribe import Recipient

# An email that could not go out for so long would be no news.
NEWS_WITHIN = timedelta(days=7)


@handles("tell_ended")
class TellEnded(EmailAfterEnd):
    """One email about one end."""

    told = EntryKind.END_TOLD
    rule = "ended"
    said = "The customer was told of the end."
    printed = "The email about the end was printed."

    async def plan(
        self, db: Connection, task: Job[AfterEndPayload], dossier: Dossier, account: AccountId, recipient: Recipient
    ) -> Nothing | After:
        """The email that is due now; else Nothing with the time when it is due."""
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

    async def put_off(self, db: Connection, dossier: Dossier, again: datetime | None) -> None:
        """Queue it for `again`."""
        await recovery_tasks.tell_ended(db, dossier.merchant_id, dossier.recovery_id, dossier.invoice_id, again)
