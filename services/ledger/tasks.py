"""Tasks, as an operator handles them: list, get, create, retry, take away.

    retry:  dead, canceled ──> pending, due now, with all its attempts
    delete: pending, dead  ──> canceled: it will not run, and is no dead letter any more; canceled stays canceled

Nothing is erased: the row stays until the janitor prunes it, and a canceled task may be retried. A task that is
running or has succeeded is left alone (409). A writer that says with If-Match which version it has seen changes that
version or nothing (409).
"""

from uuid import UUID

from services.ledger import store, task_store
from services.ledger.endpoint import Call
from services.ledger.pagination import ById, cut, read_by_id, write_by_id
from services.ledger.schemas import NoBody, NoParameters, OneTask, Page, Task, TaskCreate, TaskFilter
from services.ledger.tenancy import merchant_to_write, require_active, visible_merchant
from shared.http import Problem
from shared.queue.tasks import TaskStatus

LIST = "tasks"
RETRYABLE = frozenset({TaskStatus.DEAD, TaskStatus.CANCELED})
CANCELABLE = frozenset({TaskStatus.PENDING, TaskStatus.DEAD})


def _own_prefix(merchant_id: str) -> str:
    # The index of unique keys is one for all: without a prefix, a tenant could take another's key, or the engine's.
    return f"api:{merchant_id}:"


def task_of(row: store.Row) -> Task:
    """The task as the API shows it; a unique key that was given here as it was given."""
    shown = dict(row)
    del shown["row_id"]
    if shown["unique_key"] is not None:
        shown["unique_key"] = shown["unique_key"].removeprefix(_own_prefix(shown["merchant_id"]))
    return Task.model_validate(shown)


def has_version(if_match: str | None, version: str) -> bool:
    """Whether an If-Match (RFC 9110, section 13.1.1) lets a write to this version through; what is no tag does not."""
    if if_match is None:
        return True
    return any(tag.strip() in {"*", f'"{version}"'} for tag in if_match.split(","))


def _cursor(row: store.Row) -> str:
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
    rows = await store.fetch(call.db, task_store.select_tasks(wanted.limit + 1, wanted.status, given))
    page, next_cursor = cut(rows, wanted.limit, _cursor)
    return Page[Task](data=[task_of(row) for row in page], next_cursor=next_cursor)


async def get_task(call: Call[OneTask, NoBody]) -> Task:
    """One task. Raises Problem 404."""
    rows = await store.fetch(call.db, task_store.select_task(call.parameters.task_id, call.key.merchant_id))
    if not rows:
        raise Problem(404, "not-found", "There is no such task.")
    return task_of(rows[0])


async def create_task(call: Call[NoParameters, TaskCreate]) -> Task:
    """Queue a task. Raises Problem 409 when its unique key is queued, 422 and 409 as `merchant_to_write` does."""
    new = call.body
    merchant_id = await merchant_to_write(call.db, call.key, new.merchant_id)
    unique_key = _own_prefix(merchant_id) + new.unique_key if new.unique_key else None
    row = await task_store.insert_task(
        call.db, merchant_id, new.task_type, new.payload, run_at=new.run_at, unique_key=unique_key
    )
    if row is None:
        raise _taken()
    return task_of(row)


async def retry_task(call: Call[OneTask, NoBody]) -> Task:
    """Make a dead or canceled task pending, due now. Raises Problem 404, 409."""
    row = await _locked(call, RETRYABLE, "retried")
    require_active(await store.merchant_status(call.db, UUID(row["merchant_id"])))
    revived = await task_store.revive_task(call.db, row["row_id"], row["merchant_id"])
    if revived is None:
        raise _taken()
    return task_of(revived)


async def delete_task(call: Call[OneTask, NoBody]) -> Task:
    """Take a pending or dead task away; a canceled one is left as it is. Raises Problem 404, 409."""
    row = await _locked(call, CANCELABLE | {TaskStatus.CANCELED}, "taken away")
    if row["status"] == TaskStatus.CANCELED:
        return task_of(row)
    return task_of(await task_store.cancel_task(call.db, row["row_id"], row["merchant_id"]))


async def _locked(call: Call[OneTask, NoBody], allowed: frozenset[TaskStatus], verb: str) -> store.Row:
    row = await task_store.lock_task(call.db, call.parameters.task_id, call.key.merchant_id)
    if row is None:
        raise Problem(404, "not-found", "There is no such task.")
    if not has_version(call.if_match, row["version"]):
        detail = (
            "The task is not at a version that If-Match names: it has changed since you read its ETag. Read it again."
        )
        raise Problem(409, "version-conflict", detail)
    if row["status"] not in allowed:
        names = ", ".join(sorted(allowed))
        raise Problem(409, "wrong-status", f"The task is {row['status']}; only {names} can be {verb}.")
    return row
