"""An operator's commands for many tasks: pauses, retry and cancel by filter. A merchant's key reaches its own tasks."""

from typing import Any

from services.ledger.api.endpoint import Call
from services.ledger.api.schemas import Changed, NoBody, NoParameters, OfMerchant
from services.ledger.api.tenancy import merchant_to_write, visible_merchant
from services.ledger.tasks.schemas import Pause, PauseEnd, PauseList, PauseStart, TaskSelection
from shared.http import Problem
from shared.queue import control
from shared.queue.control import BATCH, Which


async def _which(call: Call[NoParameters, Any]) -> Which:
    """The tasks that a body names; with a merchant's key only that merchant's. Raises Problem 422."""
    asked: TaskSelection = call.body
    named = asked.merchant_id is not None or call.key.merchant_id is not None
    merchant_id = await merchant_to_write(call.db, call.key, asked.merchant_id) if named else None
    if merchant_id is None and asked.task_type is None:
        errors = [{"field": "task_type", "message": "required where no merchant is named"}]
        raise Problem(422, "invalid-body", "Name a merchant, a task type, or both.", errors=errors)
    return Which(merchant_id, asked.task_type)


async def list_pauses(call: Call[OfMerchant, NoBody]) -> PauseList:
    """The pauses in force."""
    merchant_id = await visible_merchant(call.db, call.key, call.parameters.merchant_id)
    found = await control.pauses(call.db, merchant_id)
    return PauseList(
        data=[
            Pause(merchant_id=each.merchant_id, task_type=each.task_type, reason=each.reason, paused_at=each.paused_at)
            for each in found
        ]
    )


async def start_pause(call: Call[NoParameters, PauseStart]) -> Changed:
    """Pause; `changed` is 0 when it was paused already."""
    return Changed(changed=int(await control.pause(call.db, await _which(call), call.body.reason)), more=False)


async def end_pause(call: Call[NoParameters, PauseEnd]) -> Changed:
    """Resume; parked tasks are unparked in batches, the first one here and the others by the workers."""
    ended = await control.resume(call.db, await _which(call))
    if ended:
        await control.unpark(call.db)
    return Changed(changed=int(ended), more=False)


async def retry_dead(call: Call[NoParameters, TaskSelection]) -> Changed:
    """Revive a batch of dead letters."""
    count = await control.revive(call.db, await _which(call))
    return Changed(changed=count, more=count == BATCH)


async def cancel_pending(call: Call[NoParameters, TaskSelection]) -> Changed:
    """Cancel a batch of pending tasks."""
    count = await control.cancel(call.db, await _which(call), "canceled through the API")
    return Changed(changed=count, more=count == BATCH)
