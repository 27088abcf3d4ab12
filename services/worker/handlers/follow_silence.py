"""`follow_silence`: what an operator's word about a customer's messages means for the recoveries in flight.

The silence itself is a row that every message asks for, in force before this runs. Here what is queued is canceled and
the timelines tell it; and when the last silence of a customer was lifted, each recovery is decided anew, which queues
the message that is due.
"""

from typing import Annotated, Literal

from pydantic import Field

from services.worker.handler import Handler, Job, Payload, handles
from services.worker.outside.remote import Remote
from shared import recoveries, recovery_tasks, silences
from shared.database import Connection
from shared.events.store import lock_of_customer
from shared.recoveries import Entry
from shared.silences import TEXTS

ORIGIN = {"source": "operator"}


class FollowSilencePayload(Payload):
    """Which customer, and what was changed; what holds by now is read."""

    customer_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
    change: Literal["silenced", "lifted"]


@handles("follow_silence")
class FollowSilence(Handler[FollowSilencePayload, FollowSilencePayload, FollowSilencePayload]):
    """One change of one customer."""

    payload = FollowSilencePayload

    async def perform(self, remote: Remote, plan: FollowSilencePayload) -> FollowSilencePayload:  # noqa: ARG002 - nobody is asked
        """Nothing of this is outside."""
        return plan

    async def commit(self, db: Connection, task: Job[FollowSilencePayload], outcome: FollowSilencePayload) -> None:
        """Tell it in the timelines; cancel what is queued, or have the next message queued."""
        merchant_id, asked = task.merchant_id, outcome
        # Locked first: a message that is being decided on was decided before, or sees what is seen here.
        concerned = await lock_of_customer(db, merchant_id, asked.customer_id)
        silence = await silences.find(db, merchant_id, asked.customer_id)
        if (silence is not None) != (asked.change == "silenced"):
            return  # it was changed again, or another reason stands: nothing has come of this one
        for recovery in concerned:
            if silence is not None:
                await recovery_tasks.cancel_messages(db, recovery.id, f"the customer is not written to: {silence}")
                await recoveries.record(db, recovery.id, Entry("silenced", silence, TEXTS[silence], ORIGIN))
                continue
            text = "The customer is written to again."
            entry = Entry("silence_lifted", "silence_lifted", text, ORIGIN, next_step="decide anew at once")
            await recoveries.record(db, recovery.id, entry)
            await recovery_tasks.evaluate_now(db, merchant_id, recovery.id, recovery.invoice_id)
