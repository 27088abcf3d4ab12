"""What the emails after a recovery's end have in common: one to its customer, when their turn has come, told once.

Which recoveries it is about and whether it is due, each task type says in `plan`.
"""

from abc import abstractmethod
from datetime import datetime, timedelta
from typing import ClassVar

from services.worker.backoff import RetryPolicy
from services.worker.dossier import store
from services.worker.dossier.dossier import Dossier
from services.worker.errors import BadPayload
from services.worker.handler import Handler, Job, Nothing, Payload
from services.worker.messages import turns
from services.worker.messages.delivery import NOT_SENT, After, Delivered, NotSent, deliver_after
from services.worker.outside.mail_quota import check_quota
from services.worker.outside.remote import Remote
from shared import recoveries, silences
from shared.database import Connection
from shared.ids import AccountId, InvoiceId
from shared.money import Money
from shared.recovery_model import Entry, EntryKind
from shared.silences import TEXTS, SilenceReason
from shared.unsubscribe import Recipient


class AfterEndPayload(Payload):
    """The invoice. The recovery is in the task's `recovery_id`."""

    invoice_id: InvoiceId


Plan = Nothing | SilenceReason | After
Outcome = Nothing | SilenceReason | Delivered | NotSent


class EmailAfterEnd(Handler[AfterEndPayload, Plan, Outcome]):
    """One email after an end. `told` is the kind of its entry in the timeline, `rule` the entry's rule, `said` and
    `printed` are its texts."""

    payload = AfterEndPayload
    calls = ("stripe", "resend")
    retry = RetryPolicy(base=timedelta(seconds=20), factor=2.5, longest=timedelta(hours=2))
    locks_customer = True

    told: ClassVar[EntryKind]
    rule: ClassVar[str]
    said: ClassVar[str]
    printed: ClassVar[str]

    @abstractmethod
    async def plan(
        self, db: Connection, task: Job[AfterEndPayload], dossier: Dossier, account: AccountId, recipient: Recipient
    ) -> Nothing | After:
        """The email that is due now, with the customer's turn taken; else Nothing with the time when it is due."""

    @abstractmethod
    async def put_off(self, db: Connection, dossier: Dossier, again: datetime | None) -> None:
        """Queue the same task for `again`."""

    async def load(self, db: Connection, task: Job[AfterEndPayload]) -> Plan:
        """Decide whether the customer is written to now."""
        if task.recovery_id is None:
            raise BadPayload(f"a {task.claimed.task_type} names its recovery in recovery_id")
        await check_quota(db)
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            raise BadPayload("the recovery does not exist")
        if dossier.account is None or dossier.customer_id is None or not dossier.merchant_active:
            return Nothing("the merchant is gone, or the invoice has no customer")
        silence = await silences.find(db, dossier.merchant_id, dossier.customer_id)
        recipient = Recipient(dossier.merchant_id, dossier.customer_id)
        return silence or await self.plan(db, task, dossier, dossier.account, recipient)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Send the email, about the invoices of which it is so at Stripe, too."""
        return await deliver_after(remote, plan) if isinstance(plan, After) else plan

    async def commit(self, db: Connection, task: Job[AfterEndPayload], outcome: Outcome) -> None:
        """Add it to the timelines and the ledger; or queue it again for when its time has come."""
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
                await self.put_off(db, dossier, again)
            case SilenceReason():
                await recoveries.record(db, task.recovery_id, Entry(EntryKind.NOT_MESSAGED, outcome, TEXTS[outcome]))
            case NotSent(rule):
                await recoveries.record(db, task.recovery_id, Entry(EntryKind.NOT_MESSAGED, rule, NOT_SENT[rule]))
            case Delivered():
                await self._tell(db, dossier, outcome)

    async def _tell(self, db: Connection, dossier: Dossier, delivered: Delivered) -> None:
        """Enter the email into the timeline of each recovery that it is about, and once into the ledger."""
        sent = delivered.sent
        text = self.printed if sent.printed else self.said
        detail = {"message": delivered.message, "email_id": sent.provider_id}
        for recovery_id in delivered.about:
            await recoveries.record(db, recovery_id, Entry(self.told, self.rule, text, detail))
        if not sent.printed:
            one = Money(1, dossier.due.currency)
            await recoveries.book(db, dossier.merchant_id, "message", one, dossier.recovery_id)
