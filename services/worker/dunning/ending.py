"""What happens at Stripe when a recovery is exhausted: the policy's end action, as a task of its own.

A task of its own, because it has its own call, its own key and its own repeats, and because until it has run it can be
taken back (`DELETE /v1/tasks/{id}`). The timeline says that it is coming, and what came of it.
"""

from collections.abc import Mapping

from services.worker.dunning.dossier import Dossier
from shared import tasks
from shared.database import Connection
from shared.policy import EndAction
from shared.tasks import NewTask

TASK_TYPE = "end_dunning"
STEPS: Mapping[EndAction, str] = {
    "leave": "nothing",
    "cancel": "cancel the subscription",
    "pause": "pause the subscription's collection",
    "mark_uncollectible": "mark the invoice uncollectible",
}


async def queue(db: Connection, dossier: Dossier, action: EndAction) -> None:
    """Queue the action of a recovery that has just been closed."""
    task = NewTask(
        dossier.merchant_id,
        TASK_TYPE,
        {"invoice_id": dossier.invoice_id, "action": action},
        recovery_id=dossier.recovery_id,
        unique_key=f"{TASK_TYPE}:{dossier.recovery_id}",
    )
    await tasks.enqueue(db, task)
