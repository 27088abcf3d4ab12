"""What people say about recoveries, and that it holds: an operator stops one, takes a task of it away, or has a
customer or a subscription left alone.

A `dunning_retry` that is canceled, pending, parked or dead, stops its recovery: else the janitor, or the next event,
would bring the task back. A message, a thank-you or an end action that is canceled is not made; the timeline says so,
and the next evaluation does not queue it again.

    left alone for a time ──> open recoveries wait (rule `left_alone`), new ones open and wait, too
    left alone for good ────> open recoveries are stopped, and new ones at their first evaluation
    lifted ─────────────────> those that wait are evaluated at once; what was stopped stays so

All functions run in the caller's transaction and lock the recoveries first, by their ids, then what belongs to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared import left_alone, recoveries, recovery_stops, recovery_tasks
from shared.database import Connection
from shared.events.store import Concerned, lock_of_customer, lock_of_subscription
from shared.ids import MerchantId, RecoveryId
from shared.left_alone import LeftAlone, Whom
from shared.recovery_model import (
    CANCELED_BY_OPERATOR,
    LEFT_ALONE,
    LIFTED,
    WANTED_AGAIN,
    EndReason,
    Entry,
    EntryKind,
    OperatorReason,
    RecoveryState,
)
from shared.recovery_tasks import EVALUATE, MESSAGE

SOURCE = {"source": "operator"}

LOCK = """
SELECT id, state, end_reason, stop_requested
FROM recoveries
WHERE id = ANY ($1::uuid[])
ORDER BY id
FOR UPDATE
"""

OPEN_OF_MERCHANT = """
SELECT id FROM recoveries
WHERE merchant_id = $1 AND closed_at IS NULL AND stop_requested IS NULL
ORDER BY id
LIMIT $2
FOR UPDATE
"""


@dataclass(frozen=True, slots=True)
class CanceledTask:
    """A task that an operator has taken away, and whose recovery it was."""

    public_id: UUID
    task_type: str
    recovery_id: RecoveryId
    payload: Mapping[str, Any]
    run_at: datetime


async def lock(db: Connection, recovery_ids: Sequence[RecoveryId]) -> dict[RecoveryId, RecoveryState]:
    """Lock recoveries, by id, until the end of the transaction; their states."""
    rows = await db.fetch(LOCK, sorted(set(recovery_ids)))
    return {row["id"]: RecoveryState(row["state"]) for row in rows}


# --- Stops ------------------------------------------------------------------------------------------------------------


async def stop(db: Connection, recovery_id: RecoveryId, reason: OperatorReason) -> bool:
    """Stop a recovery because an operator says so. False: it had ended, or a stop was noted before.

    While an attempt is in flight the stop is noted, and the attempt's outcome decides how the recovery ends.
    """
    rows = await db.fetch(LOCK, [recovery_id])
    if not rows or rows[0]["stop_requested"] not in (None, EndReason.MERCHANT_GONE):
        return False
    text = f"An operator stopped it: {reason.replace('_', ' ')}."
    return await _stop(db, recovery_id, EndReason.STOPPED_BY_OPERATOR, text, code=reason)


async def stop_is_noted(db: Connection, recovery_id: RecoveryId | None) -> bool:
    """Whether an open recovery is about to end, and only the outcome of an attempt in flight is waited for."""
    rows = await db.fetch(LOCK, [recovery_id]) if recovery_id is not None else []
    return any(row["stop_requested"] is not None and not RecoveryState(row["state"]).ended for row in rows)


async def was_stopped(db: Connection, recovery_id: RecoveryId | None) -> bool:
    """Whether the recovery has ended because an operator said so."""
    rows = await db.fetch(LOCK, [recovery_id]) if recovery_id is not None else []
    return any(row["end_reason"] == EndReason.STOPPED_BY_OPERATOR for row in rows)


async def stop_all(db: Connection, whom: Whom, reason: OperatorReason) -> int:
    """Stop every open recovery of a customer or of a subscription; how many."""
    return sum([await stop(db, each.id, reason) for each in await _concerned(db, whom)])


async def stop_of_merchant(db: Connection, merchant_id: MerchantId, reason: OperatorReason, limit: int) -> int:
    """Stop at most `limit` open recoveries of a merchant; how many."""
    rows = await db.fetch(OPEN_OF_MERCHANT, merchant_id, limit)
    return sum([await stop(db, row["id"], reason) for row in rows])


async def _stop(db: Connection, recovery_id: RecoveryId, rule: str, text: str, **detail: str) -> bool:
    entry = Entry(EntryKind.CLOSED, rule, text, {**SOURCE, **detail})
    return await recovery_stops.request_stop(db, recovery_id, EndReason.STOPPED_BY_OPERATOR, entry)


# --- Tasks that are taken away ----------------------------------------------------------------------------------------


async def follow_cancel(db: Connection, canceled: Sequence[CanceledTask], running: Sequence[RecoveryId] = ()) -> None:
    """Make what the canceled tasks were for not happen. The caller has locked their recoveries.

    `running` are recoveries whose evaluation runs and cannot be canceled: they are stopped, too, and the run sees it
    before its call.
    """
    states = await lock(db, [*(each.recovery_id for each in canceled), *running])
    stopped = {each.recovery_id for each in canceled if each.task_type == EVALUATE}
    for each in sorted(canceled, key=lambda task: task.recovery_id):
        if each.recovery_id not in states:
            continue
        detail = {"task_id": str(each.public_id), "task_type": each.task_type}
        if each.task_type == EVALUATE:
            text = "An operator canceled its task, and with that the recovery."
            if not await _stop(db, each.recovery_id, CANCELED_BY_OPERATOR, text, **detail):
                await recoveries.record(db, each.recovery_id, _not_made(each, {**SOURCE, **detail}))
        elif not (each.task_type == MESSAGE and each.recovery_id in stopped):
            entry = _not_made(each, {**SOURCE, **detail})
            if each.task_type != MESSAGE or not states[each.recovery_id].ended:
                await recoveries.record(db, each.recovery_id, entry)
    for recovery_id in sorted(set(running) - stopped):
        text = "An operator canceled the merchant's tasks while this one's was running."
        await _stop(db, recovery_id, CANCELED_BY_OPERATOR, text, task_type=EVALUATE)


def _not_made(task: CanceledTask, detail: Mapping[str, Any]) -> Entry:
    match task.task_type:
        case recovery_tasks.MESSAGE:
            # It counts as the message of its day, so that the next evaluation does not queue it again.
            detail = {**detail, "kind": str(task.payload.get("kind", "payment_failed")), "due": task.run_at.isoformat()}
            return Entry(
                EntryKind.NOT_MESSAGED, CANCELED_BY_OPERATOR, "No message: an operator canceled this one.", detail
            )
        case recovery_tasks.THANK:
            return Entry(EntryKind.NOT_MESSAGED, CANCELED_BY_OPERATOR, "No thank-you: an operator canceled it.", detail)
        case recovery_tasks.END:
            action = str(task.payload.get("action", "unknown"))
            text = f"The policy's end action ({action}) is not carried out: an operator canceled it."
            return Entry(EntryKind.END_ACTION, CANCELED_BY_OPERATOR, text, {**detail, "action": action})
        case _:
            return Entry(EntryKind.CHANGED, CANCELED_BY_OPERATOR, f"An operator canceled {task.task_type}.", detail)


async def follow_revival(db: Connection, recovery_id: RecoveryId, public_id: UUID, task_type: str) -> None:
    """Note that an operator wants a canceled task of the recovery after all. The caller has locked the recovery."""
    detail = {**SOURCE, "task_id": str(public_id), "task_type": task_type}
    text = f"An operator wants {task_type} after all."
    await recoveries.record(db, recovery_id, Entry(EntryKind.CHANGED, WANTED_AGAIN, text, detail))


# --- Left alone -------------------------------------------------------------------------------------------------------


async def leave_alone(db: Connection, whom: Whom, until: datetime | None, reason: OperatorReason) -> LeftAlone:
    """Leave a customer or a subscription alone until a time, or for good; a repeat changes until when, and why."""
    before = await left_alone.find(db, whom)
    row = await left_alone.add(db, whom, until, reason)
    if before is not None and (before.until, before.reason) == (until, reason):
        return row
    who = "customer" if whom.customer_id is not None else "subscription"
    for recovery in await _concerned(db, whom):
        if until is None:
            await _stop(db, recovery.id, LEFT_ALONE, f"The {who} is left alone for good.", code=reason)
            continue
        text = f"The {who} is left alone until {until:%Y-%m-%d %H:%M} UTC: no attempt, no message, no end action."
        detail = {**SOURCE, "code": reason, "until": until.isoformat()}
        entry = Entry(EntryKind.CHANGED, LEFT_ALONE, text, detail, "wait until then", until)
        await recoveries.record(db, recovery.id, entry)
        await recovery_tasks.cancel_messages(db, recovery.id, f"the {who} is left alone")
        await recovery_tasks.evaluate_now(db, whom.merchant_id, recovery.id, recovery.invoice_id)
    return row


async def lift(db: Connection, row_id: UUID, merchant_id: MerchantId | None) -> LeftAlone | None:
    """Leave nobody alone by this row any more, and have the recoveries that wait evaluated; None: there is none."""
    row = await left_alone.remove(db, row_id, merchant_id)
    if row is None:
        return None
    who = "customer" if row.whom.customer_id is not None else "subscription"
    for recovery in await _concerned(db, row.whom):
        entry = Entry(
            EntryKind.CHANGED,
            LIFTED,
            f"The {who} is not left alone any more.",
            SOURCE,
            next_step="decide anew at once",
        )
        await recoveries.record(db, recovery.id, entry)
        await recovery_tasks.evaluate_now(db, row.whom.merchant_id, recovery.id, recovery.invoice_id)
    return row


async def _concerned(db: Connection, whom: Whom) -> list[Concerned]:
    if whom.customer_id is not None:
        return await lock_of_customer(db, whom.merchant_id, whom.customer_id)
    if whom.subscription_id is not None:
        return await lock_of_subscription(db, whom.merchant_id, whom.subscription_id)
    return []
