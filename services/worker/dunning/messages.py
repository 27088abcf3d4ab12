"""When the next message to the customer is queued: one at a time, and what it says is decided when it goes out."""

from services.worker.dunning import store
from services.worker.dunning.dossier import Dossier
from services.worker.recovery import Decision, MessageKind, next_message
from shared import tasks
from shared.database import Connection
from shared.recoveries import RecoveryState
from shared.tasks import NewTask

TASK_TYPE = "notify_action_required"
KIND_OF_STATE = {
    RecoveryState.ACTION_REQUIRED: MessageKind.ACTION_REQUIRED,
    RecoveryState.NEEDS_NEW_METHOD: MessageKind.NEW_METHOD_NEEDED,
}


def kind_now(state: RecoveryState) -> MessageKind:
    """What a message asks for while the recovery is in this state."""
    return KIND_OF_STATE.get(state, MessageKind.PAYMENT_FAILED)


def unique_key(dossier: Dossier) -> str:
    """One message of a recovery is queued at a time."""
    return f"{TASK_TYPE}:{dossier.recovery_id}"


async def plan(db: Connection, dossier: Dossier, decision: Decision, kind: MessageKind) -> None:
    """Queue the next message of this kind; one that was queued for a later time or for another purpose gives way.

    By the policy as it is for the segment that was decided for. Nobody of the holdout is written to.
    """
    if dossier.in_holdout:
        return
    segment = decision.reason.inputs.get("segment")
    policy = dossier.pinned.segment(segment if isinstance(segment, str) else None)
    due = next_message(policy, dossier.opened_at, dossier.story.sent, kind, dossier.now)
    if due is None:
        return
    key = unique_key(dossier)
    task = NewTask(
        dossier.merchant_id,
        TASK_TYPE,
        {"kind": kind, "invoice_id": dossier.invoice_id},
        run_at=due,
        recovery_id=dossier.recovery_id,
        unique_key=key,
    )
    if await tasks.enqueue(db, task) is not None:
        return
    queued = await store.pending(db, key)
    if queued is None:
        return  # it is going out right now
    run_at, payload = queued
    if run_at <= due and payload.get("kind") == kind:
        return
    await store.cancel_pending(db, key, "another message takes its place")
    await tasks.enqueue(db, task)
