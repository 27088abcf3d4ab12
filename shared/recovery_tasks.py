"""The tasks of a recovery: the one way to have it looked at, its customer written to, and its end carried out.

    dunning_retry            evaluates it, and makes the attempt that is due
    notify_action_required   writes to its customer
    thank_customer           after an end: thanks a customer who had been written to
    end_dunning              after an end: what the policy asks for at Stripe

Each has a key of its own, so that of one recovery at most one task of a type is queued. All run in the caller's
transaction, with the recovery locked by it.
"""

from datetime import datetime
from uuid import UUID

from shared.database import Connection
from shared.queue import tasks
from shared.queue.tasks import NewTask

EVALUATE = "dunning_retry"
MESSAGE = "notify_action_required"
THANK = "thank_customer"
END = "end_dunning"

CANCEL_MESSAGES = """
UPDATE scheduled_tasks
SET status = 'canceled', finished_at = citadel_now(), last_error = $2
WHERE recovery_id = $1 AND task_type = 'notify_action_required' AND status = 'pending'
RETURNING id
"""


def key_of(task_type: str, recovery_id: UUID) -> str:
    """The unique key of a recovery's task of this type."""
    return f"{task_type}:{recovery_id}"


def _task(task_type: str, merchant_id: str, recovery_id: UUID, invoice_id: str, at: datetime | None = None) -> NewTask:
    key = key_of(task_type, recovery_id)
    return NewTask(merchant_id, task_type, {"invoice_id": invoice_id}, at, recovery_id, key)


# --- Looked at --------------------------------------------------------------------------------------------------------


async def evaluate(
    db: Connection, merchant_id: str, recovery_id: UUID, invoice_id: str, at: datetime | None = None
) -> bool:
    """Queue an evaluation, for a time or for now. False: one is queued, for whatever time, or runs."""
    return await tasks.enqueue(db, _task(EVALUATE, merchant_id, recovery_id, invoice_id, at)) is not None


async def evaluate_now(db: Connection, merchant_id: str, recovery_id: UUID, invoice_id: str) -> bool:
    """Have the recovery evaluated at once, also where that is queued for later. False: it is about to be, or runs."""
    if await tasks.bring_forward(db, key_of(EVALUATE, recovery_id)):
        return True
    return await evaluate(db, merchant_id, recovery_id, invoice_id)


async def evaluate_sooner(db: Connection, recovery_id: UUID) -> None:
    """Have the evaluation that is queued for later run now; where none is queued, none is needed."""
    await tasks.bring_forward(db, key_of(EVALUATE, recovery_id))


async def evaluated_just_now(db: Connection, recovery_id: UUID) -> bool:
    """Whether a worker is evaluating the recovery at this moment."""
    return await tasks.runs(db, key_of(EVALUATE, recovery_id))


# --- Its customer written to ------------------------------------------------------------------------------------------


async def message_at(
    db: Connection, merchant_id: str, recovery_id: UUID, invoice_id: str, kind: str, at: datetime
) -> None:
    """Have the customer written to at a time; what is queued for later, or for another purpose, gives way.

    `kind` is what the message is for, a `MessageKind` of the brain.
    """
    key = key_of(MESSAGE, recovery_id)
    payload = {"kind": kind, "invoice_id": invoice_id}
    task = NewTask(merchant_id, MESSAGE, payload, at, recovery_id, key)
    if await tasks.enqueue(db, task) is not None:
        return
    queued = await tasks.pending(db, key)
    if queued is None:
        return  # it is going out right now
    run_at, queued_for = queued
    if run_at <= at and queued_for.get("kind") == kind:
        return
    await tasks.cancel_pending(db, key, "another message takes its place")
    await tasks.enqueue(db, task)


async def cancel_messages(db: Connection, recovery_id: UUID, why: str) -> int:
    """Cancel the recovery's pending messages; how many."""
    return len(await db.fetch(CANCEL_MESSAGES, recovery_id, why))


# --- After its end ----------------------------------------------------------------------------------------------------


async def thank(
    db: Connection, merchant_id: str, recovery_id: UUID, invoice_id: str, at: datetime | None = None
) -> None:
    """Have the customer told, at a time or at once, that all is well."""
    await tasks.enqueue(db, _task(THANK, merchant_id, recovery_id, invoice_id, at))


async def carry_out_end(db: Connection, merchant_id: str, recovery_id: UUID, invoice_id: str, action: str) -> None:
    """Have the policy's end action (an `EndAction`) carried out at Stripe.

    A task of its own, because it has its own call, its own key and its own repeats, and because until it has run it can
    be taken back (`DELETE /v1/tasks/{id}`).
    """
    payload = {"invoice_id": invoice_id, "action": action}
    await tasks.enqueue(db, NewTask(merchant_id, END, payload, None, recovery_id, key_of(END, recovery_id)))
