"""`dunning_retry`: evaluate a recovery, and make the attempt that is due. See `services.worker.dunning_retry`."""

from datetime import timedelta

from services.worker.backoff import RetryPolicy
from services.worker.dossier import attempt_store, store, window
from services.worker.dunning_retry.collect import collect
from services.worker.dunning_retry.conclude import conclude
from services.worker.dunning_retry.outcome import Evaluation, Outcome, Plan
from services.worker.errors import BadPayload
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.outside.remote import Remote
from shared import recoveries
from shared.database import Connection
from shared.ids import InvoiceId
from shared.recovery_model import Entry, EntryKind, RecoveryState


class DunningRetryPayload(Payload):
    """The invoice. The recovery is in the task's `recovery_id`."""

    invoice_id: InvoiceId


@handles("dunning_retry")
class DunningRetry(Handler[DunningRetryPayload, Plan, Outcome]):
    """One run: makes a due attempt, settles one whose outcome is unknown, or only reads the invoice."""

    payload = DunningRetryPayload
    calls = ("stripe",)
    retry = RetryPolicy(base=timedelta(seconds=5), factor=4.0, longest=timedelta(hours=6))

    async def load(self, db: Connection, task: Job[DunningRetryPayload]) -> Plan:
        """Open the dossier. If an attempt is due, insert its row, which is committed before anything is sent."""
        if task.recovery_id is None:
            raise BadPayload("a dunning_retry names its recovery in recovery_id")
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            raise BadPayload("the recovery does not exist")
        if dossier.state.ended and not dossier.money_may_come:
            return Nothing(f"the recovery is {dossier.state}")
        dossier = await window.lengthen(db, dossier, task)
        if dossier.in_flight is not None:
            return Evaluation(dossier, dossier.in_flight)
        stays = dossier.merchant_active and not dossier.left_alone
        if dossier.stop_requested is not None or not stays or not dossier.attempt_is_due:
            return Evaluation(dossier)
        await store.lock_card(db, dossier)
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id) or dossier
        attempt = await attempt_store.start_attempt(db, dossier)
        number = attempt.past.number
        begins = "read the invoice, decide once more, and pay"
        entry = Entry(
            EntryKind.CHANGED, "attempt_due", f"Attempt {number} begins.", {"attempt": number}, next_step=begins
        )
        await recoveries.change(db, dossier.recovery_id, RecoveryState.ATTEMPTING, entry)
        return Evaluation(dossier, attempt, fresh=True)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Read the invoice, decide, and pay only if the rules say so."""
        return plan if isinstance(plan, Nothing) else await collect(remote, plan)

    async def commit(self, db: Connection, task: Job[DunningRetryPayload], outcome: Outcome) -> None:
        """Write what happened, decide again, and queue what comes next."""
        await conclude(db, task, outcome)
