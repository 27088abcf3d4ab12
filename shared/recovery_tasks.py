"""The tasks of a recovery. Every evaluation, message and end action of a recovery is queued here, except the
first evaluation: `recovery_opening` queues that with the recovery, for many at once.

    dunning_retry            evaluates it, and makes the attempt that is due
    notify_action_required   sends its customer a message
    thank_customer           after an end: thanks a customer who had got a message
    end_dunning              after an end: carries out the policy's end action at Stripe
    tell_ended               after an end action: tells the customer
    tell_merchant_ended      after end actions: tells the merchant, once a day

Each has a unique key, so that at most one task of a type is queued for a recovery. All functions run in the caller's
transaction, which has locked the recovery.
"""

from datetime import datetime

from shared.database import Connection
from shared.ids import InvoiceId, MerchantId, RecoveryId
from shared.queue import queued, tasks
from shared.queue.tasks import NewTask

EVALUATE = "dunning_retry"
MESSAGE = "notify_action_required"
THANK = "thank_customer"
END = "end_dunning"
TELL_ENDED = "tell_ended"
TELL_MERCHANT_ENDED = "tell_merchant_ended"


def key_of(task_type: str, recovery_id: RecoveryId) -> str:
    """The unique key of a recovery's task of this type."""
    return f"{task_type}:{recovery_id}"


def _task(
    task_type: str, merchant_id: MerchantId, recovery_id: RecoveryId, invoice_id: InvoiceId, at: datetime | None = None
) -> NewTask:
    key = key_of(task_type, recovery_id)
    return NewTask(merchant_id, task_type, {"invoice_id": invoice_id}, at, recovery_id, key)


# --- Evaluations ------------------------------------------------------------------------------------------------------


async def evaluate(
    db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, invoice_id: InvoiceId, at: datetime | None = None
) -> bool:
    """Queue an evaluation, for a time or for now. False: one is queued, for whatever time, or runs."""
    return await tasks.enqueue(db, _task(EVALUATE, merchant_id, recovery_id, invoice_id, at)) is not None


async def evaluate_now(db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, invoice_id: InvoiceId) -> bool:
    """Have the recovery evaluated at once, also where that is queued for later. False: it is about to be, or runs."""
    if await queued.bring_forward(db, key_of(EVALUATE, recovery_id)):
        return True
    return await evaluate(db, merchant_id, recovery_id, invoice_id)


async def evaluate_sooner(db: Connection, recovery_id: RecoveryId) -> None:
    """Bring the queued evaluation forward to now; if none is queued, none is needed."""
    await queued.bring_forward(db, key_of(EVALUATE, recovery_id))


async def evaluate_again(
    db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, invoice_id: InvoiceId
) -> bool:
    """Have something new looked at: by an evaluation at once, or by the one that runs, if the caller tells it.

    True: the caller writes the news into the timeline, and a run that has read the invoice before then reads it again.
    False: an evaluation is about to begin, which needs no telling.
    """
    if await evaluate_now(db, merchant_id, recovery_id, invoice_id):
        return True
    return await queued.runs(db, key_of(EVALUATE, recovery_id))


# --- Messages ---------------------------------------------------------------------------------------------------------


async def message_at(
    db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, invoice_id: InvoiceId, kind: str, at: datetime
) -> None:
    """Queue a message to the customer for a time; it replaces one that is queued for later or for another purpose.

    `kind` is what the message is for, a `MessageKind` of the brain. One that was tried stays: its email may be out, and
    another task would send another one.
    """
    key = key_of(MESSAGE, recovery_id)
    payload = {"kind": kind, "invoice_id": invoice_id}
    task = NewTask(merchant_id, MESSAGE, payload, at, recovery_id, key)
    if await tasks.enqueue(db, task) is not None:
        return
    waiting = await queued.find(db, key)
    if waiting is None:
        return  # a message is being sent right now
    if waiting.tries or (waiting.run_at <= at and waiting.payload.get("kind") == kind):
        return
    await queued.cancel(db, key, "another message takes its place")
    await tasks.enqueue(db, task)


async def message_now(db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, invoice_id: InvoiceId) -> None:
    """Have it decided at once which message is due, and send it; also where one is queued for later."""
    if not await queued.bring_forward(db, key_of(MESSAGE, recovery_id)):
        await tasks.enqueue(db, _task(MESSAGE, merchant_id, recovery_id, invoice_id))


async def cancel_messages(db: Connection, recovery_id: RecoveryId, why: str) -> int:
    """Cancel the recovery's pending messages; how many."""
    return await queued.cancel_of_recovery(db, recovery_id, why, MESSAGE)


# --- After its end ----------------------------------------------------------------------------------------------------


async def thank(
    db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, invoice_id: InvoiceId, at: datetime | None = None
) -> None:
    """Queue the thank-you to the customer, for a time or for now."""
    await tasks.enqueue(db, _task(THANK, merchant_id, recovery_id, invoice_id, at))


async def carry_out_end(
    db: Connection,
    merchant_id: MerchantId,
    recovery_id: RecoveryId,
    invoice_id: InvoiceId,
    action: str,
    at: datetime | None = None,
) -> None:
    """Queue the policy's end action (an `EndAction`) at Stripe, for a time or for now.

    It is a task of its own, because it has its own call, key and repeats, and because it can be canceled until it has
    run (`DELETE /v1/tasks/{id}`).
    """
    payload = {"invoice_id": invoice_id, "action": action}
    await tasks.enqueue(db, NewTask(merchant_id, END, payload, at, recovery_id, key_of(END, recovery_id)))


async def tell_ended(
    db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, invoice_id: InvoiceId, at: datetime | None = None
) -> None:
    """Queue the email to the customer about the end, for a time or for now."""
    await tasks.enqueue(db, _task(TELL_ENDED, merchant_id, recovery_id, invoice_id, at))


async def tell_merchant_ended(db: Connection, merchant_id: MerchantId, at: datetime | None = None) -> None:
    """Queue the email to the merchant about what has ended, unless one is queued, which then tells of this, too."""
    key = f"{TELL_MERCHANT_ENDED}:{merchant_id}"
    await tasks.enqueue(db, NewTask(merchant_id, TELL_MERCHANT_ENDED, {}, at, unique_key=key))
