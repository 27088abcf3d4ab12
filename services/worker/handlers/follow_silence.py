"""`follow_silence`: after an operator silenced a customer or lifted a silence, updates the customer's open recoveries.

The silence itself is a row that every message checks, and it is in force before this runs. This task cancels queued
messages and adds the timelines' entries. When the last silence of a customer was lifted, it has each recovery evaluated
again, which queues the message that is due.
"""

from typing import Annotated, Literal

from pydantic import Field

from services.worker.handler import Handler, Job, Payload, handles
from services.worker.outside.remote import Remote
from shared import recoveries, recovery_tasks, silences
from shared.database import Connection
from shared.events.store import lock_of_customer
from shared.ids import CustomerId
from shared.recovery_model import Entry, EntryKind

ORIGIN = {"source": "operator"}


class FollowSilencePayload(Payload):
    """The customer, and what was changed. The silences that hold by now are read."""

    customer_id: Annotated[CustomerId, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
    change: Literal["silenced", "lifted"]


@handles("follow_silence")
class FollowSilence(Handler[FollowSilencePayload, FollowSilencePayload, FollowSilencePayload]):
    """One change of one customer's silences."""

    payload = FollowSilencePayload

    async def perform(self, remote: Remote, plan: FollowSilencePayload) -> FollowSilencePayload:  # noqa: ARG002 - nobody is asked
        """Makes no call."""
        return plan

    async def commit(self, db: Connection, task: Job[FollowSilencePayload], outcome: FollowSilencePayload) -> None:
        """Add entries to the timelines; cancel queued messages, or have the next message queued."""
        merchant_id, asked = task.merchant_id, outcome
        # Locked first: a message that is being decided on is decided before this, or sees the same silences.
        concerned = await lock_of_customer(db, merchant_id, asked.customer_id)
        silence = await silences.find(db, merchant_id, asked.customer_id)
        if (silence is not None) != (asked.change == "silenced"):
            return  # changed again since, or another silence still holds: this change has no effect
        for recovery in concerned:
            if silence is not None:
                await recoveries.silence(db, recovery.id, silence, ORIGIN)
                continue
            text = "The customer is written to again."
            entry = Entry(EntryKind.SILENCE_LIFTED, "silence_lifted", text, ORIGIN, next_step="decide anew at once")
            await recoveries.record(db, recovery.id, entry)
            await recovery_tasks.evaluate_now(db, merchant_id, recovery.id, recovery.invoice_id)
