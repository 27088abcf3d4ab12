"""An operator's commands for single tasks: list, get, create, retry, cancel.

    retry:  dead, canceled ──> pending, due now, with all its tries
    delete: pending, dead  ──> canceled: it will not run, and is no longer a dead letter; canceled stays canceled

Nothing is erased: the row stays until the janitor prunes it, and a canceled task may be retried. A task that is
running or has succeeded is not changed (409). With If-Match a call changes the named version or nothing (409).

Who cancels the evaluation of a recovery (`dunning_retry`, pending or dead) stops the recovery; a message or an end
action that is canceled is not made (`shared.interventions`).
"""

from typing import Any
from uuid import UUID

from services.ledger.api.endpoint import Call, Endpoint, KeyUse
from services.ledger.api.pagination import ById, cut, read_by_id, write_by_id
from services.ledger.api.schemas import Changed, NoBody, NoParameters, OfMerchant, Page
from services.ledger.api.select import Row, fetch, merchant_status
from services.ledger.api.tenancy import NO_MERCHANT, merchant_to_write, require_active, visible_merchant
from services.ledger.tasks import store
from services.ledger.tasks.control import cancel_pending, end_pause, list_pauses, retry_dead, start_pause
from services.ledger.tasks.schemas import (
    OneTask,
    PauseEnd,
    PauseList,
    PauseStart,
    Task,
    TaskCreate,
    TaskFilter,
    TaskSelection,
)
from shared import interventions
from shared.api_keys import Scope
from shared.http import Problem
from shared.ids import MerchantId
from shared.interventions import CanceledTask
from shared.queue.tasks import TaskStatus
from shared.recovery_tasks import EVALUATE, MESSAGE

LIST = "tasks"
RETRYABLE = frozenset({TaskStatus.DEAD, TaskStatus.CANCELED})
CANCELABLE = frozenset({TaskStatus.PENDING, TaskStatus.DEAD})


def _own_prefix(merchant_id: MerchantId) -> str:
    # All share one index of unique keys: without a prefix a tenant could use another's key, or the engine's.
    return f"api:{merchant_id}:"


def task_of(row: Row) -> Task:
    """The task as the API shows it; a unique key that came through the API is shown without its prefix."""
    shown = dict(row)
    del shown["row_id"]
    if shown["unique_key"] is not None:
        shown["unique_key"] = shown["unique_key"].removeprefix(_own_prefix(shown["merchant_id"]))
    return Task.model_validate(shown)


def has_version(if_match: str | None, version: str) -> bool:
    """Whether an If-Match (RFC 9110, section 13.1.1) matches this version; a malformed tag does not."""
    if if_match is None:
        return True
    return any(tag.strip() in {"*", f'"{version}"'} for tag in if_match.split(","))


def _cursor(row: Row) -> str:
    return write_by_id(LIST, ById(row["row_id"]))


def _taken() -> Problem:
    return Problem(409, "unique-key-taken", "A task with this unique_key is pending or running.")


async def list_tasks(call: Call[TaskFilter, NoBody]) -> Page[Task]:
    """One page, newest first."""
    wanted = call.parameters
    before = read_by_id(LIST, wanted.cursor)
    given = {
        "merchant_id": await visible_merchant(call.db, call.key, wanted.merchant_id),
        "task_type": wanted.task_type,
        "recovery_id": wanted.recovery_id,
        "before": before,
    }
    rows = await fetch(call.db, store.select_tasks(wanted.limit + 1, wanted.status, given))
    page, next_cursor = cut(rows, wanted.limit, _cursor)
    return Page[Task](data=[task_of(row) for row in page], next_cursor=next_cursor)


async def get_task(call: Call[OneTask, NoBody]) -> Task:
    """One task. Raises Problem 404."""
    rows = await fetch(call.db, store.select_task(call.parameters.task_id, call.key.merchant_id))
    if not rows:
        raise Problem(404, "not-found", "There is no such task.")
    return task_of(rows[0])


async def create_task(call: Call[NoParameters, TaskCreate]) -> Task:
    """Queue a task. Raises Problem 409 when its unique key is queued, 422 and 409 as `merchant_to_write` does."""
    new = call.body
    merchant_id = await merchant_to_write(call.db, call.key, new.merchant_id)
    unique_key = _own_prefix(merchant_id) + new.unique_key if new.unique_key else None
    row = await store.insert_task(
        call.db, merchant_id, new.task_type, new.payload, run_at=new.run_at, unique_key=unique_key
    )
    if row is None:
        raise _taken()
    return task_of(row)


async def retry_task(call: Call[OneTask, NoBody]) -> Task:
    """Make a dead or canceled task pending, due now. Raises Problem 404, 409."""
    row = await _locked(call, RETRYABLE, "retried")
    recovery_id = row["recovery_id"]
    if row["task_type"] in {EVALUATE, MESSAGE} and await interventions.was_stopped(call.db, recovery_id):
        raise Problem(409, "wrong-status", "An operator has stopped the task's recovery: nothing is left for it to do.")
    require_active(await merchant_status(call.db, UUID(row["merchant_id"])))
    revived = await store.revive_task(call.db, row["row_id"], row["merchant_id"])
    if revived is None:
        raise _taken()
    if recovery_id is not None and row["status"] == TaskStatus.CANCELED:
        await interventions.follow_revival(call.db, recovery_id, row["id"], row["task_type"])
    return task_of(revived)


async def delete_task(call: Call[OneTask, NoBody]) -> Task:
    """Cancel a pending or dead task; a canceled one is not changed. Raises Problem 404, 409."""
    row = await _locked(call, CANCELABLE | {TaskStatus.CANCELED}, "taken away")
    if row["status"] == TaskStatus.CANCELED:
        return task_of(row)
    recovery_id = row["recovery_id"]
    if row["task_type"] == EVALUATE and await interventions.stop_is_noted(call.db, recovery_id):
        detail = "The recovery's stop is noted, and this task only finds out how the attempt in flight has ended."
        raise Problem(409, "wrong-status", detail)
    canceled = await store.cancel_task(call.db, row["row_id"], row["merchant_id"])
    if recovery_id is not None:
        task = CanceledTask(row["id"], row["task_type"], recovery_id, row["payload"], row["run_at"])
        await interventions.follow_cancel(call.db, [task])
    return task_of(canceled)


async def _locked(call: Call[OneTask, NoBody], allowed: frozenset[TaskStatus], verb: str) -> Row:
    """The task, locked, and its recovery before it. Raises Problem 404, 409."""
    recovery_id = await store.recovery_of_task(call.db, call.parameters.task_id, call.key.merchant_id)
    if recovery_id is not None:
        await interventions.lock(call.db, [recovery_id])
    row = await store.lock_task(call.db, call.parameters.task_id, call.key.merchant_id)
    if row is None:
        raise Problem(404, "not-found", "There is no such task.")
    if not has_version(call.if_match, row["version"]):
        detail = (
            "The task is not at a version that If-Match names: it has changed since you read its ETag. Read it again."
        )
        raise Problem(409, "version-conflict", detail)
    if row["status"] not in allowed:
        names = ", ".join(sorted(allowed))
        how = ""
        if row["status"] == TaskStatus.RUNNING and recovery_id is not None:
            how = f" Its recovery can be stopped: POST /v1/recoveries/{recovery_id}/stop."
        raise Problem(409, "wrong-status", f"The task is {row['status']}; only {names} can be {verb}.{how}")
    return row


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="listTasks",
        method="GET",
        path="/v1/tasks",
        scope=Scope.TASKS_READ,
        summary="Tasks, newest first",
        description="Finished tasks are there until the janitor prunes them.",
        handler=list_tasks,
        parameters=TaskFilter,
        body=NoBody,
        answer=Page[Task],
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="createTask",
        method="POST",
        path="/v1/tasks",
        scope=Scope.TASKS_WRITE,
        summary="Queue a task",
        description="Any type that matches the pattern: one that no worker handles ends in the dead letters.",
        handler=create_task,
        parameters=NoParameters,
        body=TaskCreate,
        answer=Task,
        status=201,
        key_use=KeyUse.OPTIONAL,
        versioned=True,
        located="/v1/tasks/{id}",
        refusals={409: "The unique_key is queued already, or the merchant is not connected any more."},
    ),
    Endpoint(
        name="getTask",
        method="GET",
        path="/v1/tasks/{task_id}",
        scope=Scope.TASKS_READ,
        summary="A task",
        description="`ETag` is its version, for `If-Match`.",
        handler=get_task,
        parameters=OneTask,
        body=NoBody,
        answer=Task,
        versioned=True,
        refusals={404: "There is no such task, or it is another tenant's."},
    ),
    Endpoint(
        name="deleteTask",
        method="DELETE",
        path="/v1/tasks/{task_id}",
        scope=Scope.TASKS_WRITE,
        summary="Take a task away, so that it does not run",
        description="A pending or dead task becomes canceled; a canceled one stays as it is. Nothing is erased. Who "
        "cancels the `dunning_retry` of a recovery stops the recovery. A message, a thank-you or an end action that is "
        "canceled is not made; the timeline says so.",
        handler=delete_task,
        parameters=OneTask,
        body=NoBody,
        answer=Task,
        takes_if_match=True,
        versioned=True,
        refusals={
            404: "There is no such task, or it is another tenant's.",
            409: "The task is running or has succeeded, has changed since If-Match, or finds out how an attempt ended "
            "after a stop.",
        },
    ),
    Endpoint(
        name="retryTask",
        method="POST",
        path="/v1/tasks/{task_id}/retry",
        scope=Scope.TASKS_WRITE,
        summary="Run a dead or canceled task again, now and with all its tries",
        description="It takes no body.",
        handler=retry_task,
        parameters=OneTask,
        body=NoBody,
        answer=Task,
        key_use=KeyUse.OPTIONAL,
        takes_if_match=True,
        versioned=True,
        refusals={
            404: "There is no such task, or it is another tenant's.",
            409: "The task is neither dead nor canceled, has changed since If-Match, its unique_key is queued again, "
            "an operator has stopped its recovery, or its merchant is not connected any more.",
            422: "The Idempotency-Key was used with another request.",
        },
    ),
    Endpoint(
        name="retryDeadTasks",
        method="POST",
        path="/v1/queue/retry-dead",
        scope=Scope.TASKS_WRITE,
        summary="Run dead tasks again: a merchant's, a type's, or both",
        description="At most 1,000 at a call; `more` says that there may be others. One whose unique_key is queued "
        "again, or whose merchant is gone, stays dead.",
        handler=retry_dead,
        parameters=NoParameters,
        body=TaskSelection,
        answer=Changed,
        key_use=KeyUse.OPTIONAL,
        refusals={409: "The merchant is not connected any more."},
    ),
    Endpoint(
        name="cancelPendingTasks",
        method="POST",
        path="/v1/queue/cancel-pending",
        scope=Scope.TASKS_WRITE,
        summary="Cancel pending tasks: a merchant's, a type's, or both",
        description="At most 1,000 at a call; `more` says that there may be others. What the tasks were for does not "
        "happen: a recovery whose `dunning_retry` is canceled, or runs, is stopped.",
        handler=cancel_pending,
        parameters=NoParameters,
        body=TaskSelection,
        answer=Changed,
        key_use=KeyUse.OPTIONAL,
        refusals={409: "The merchant is not connected any more."},
    ),
    Endpoint(
        name="listPauses",
        method="GET",
        path="/v1/pauses",
        scope=Scope.TASKS_READ,
        summary="The pauses in force",
        description="With a merchant's key, that merchant's.",
        handler=list_pauses,
        parameters=OfMerchant,
        body=NoBody,
        answer=PauseList,
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="startPause",
        method="POST",
        path="/v1/pauses",
        scope=Scope.TASKS_WRITE,
        summary="Hand out no task of a merchant, of a type, or of both",
        description="Takes effect with the answer; what runs already ends by itself. Tasks go on being queued.",
        handler=start_pause,
        parameters=NoParameters,
        body=PauseStart,
        answer=Changed,
        key_use=KeyUse.OPTIONAL,
        refusals={409: "The merchant is not connected any more."},
    ),
    Endpoint(
        name="endPause",
        method="POST",
        path="/v1/pauses/end",
        scope=Scope.TASKS_WRITE,
        summary="Hand tasks out again",
        description="The pause is named as it was started.",
        handler=end_pause,
        parameters=NoParameters,
        body=PauseEnd,
        answer=Changed,
        key_use=KeyUse.OPTIONAL,
        refusals={409: "The merchant is not connected any more."},
    ),
)
