"""Tasks and pauses as the API takes and shows them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field, JsonValue

from services.ledger.api.fields import (
    Instant,
    RecoveryId,
    RowId,
    TaskType,
    UniqueKey,
)
from services.ledger.api.schemas import Body, Incoming, Outgoing, Paged
from shared import ids
from shared.queue.tasks import TaskStatus


class TaskFilter(Paged):
    """Which tasks."""

    status: TaskStatus | None = None
    task_type: TaskType | None = None
    recovery_id: RecoveryId | None = None


class OneTask(Incoming):
    """Which task, by its public id, not the row's number."""

    task_id: RowId


class TaskCreate(Body):
    """A task to queue. A type that no worker handles ends in the dead letters."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    task_type: TaskType
    payload: dict[str, JsonValue] = Field(
        description="what the task type's handler expects: ids, codes, amounts and times, never personal data; "
        "at most 32 levels deep, no U+0000",
    )
    run_at: Instant | None = Field(None, description="business time; by default, and for a time that has passed, now")
    unique_key: UniqueKey | None = Field(
        None, description="while a task that was made here with this key is pending or running, no other is (409)"
    )


class TaskSelection(Body):
    """Tasks of a merchant, of a type, or of both. With a merchant's key: only that merchant's."""

    merchant_id: RowId | None = None
    task_type: TaskType | None = None


class PauseStart(TaskSelection):
    """What to pause."""

    reason: str = Field("", max_length=200, description="for other operators; never personal data")


class PauseEnd(TaskSelection):
    """Which pause to end, by the same merchant and type."""


class Task(Outgoing):
    """A task of the queue. `version` changes with every change of the task."""

    id: UUID
    merchant_id: ids.MerchantId
    task_type: str
    payload: dict[str, Any]
    status: TaskStatus
    run_at: datetime
    created_at: datetime
    recovery_id: ids.RecoveryId | None
    unique_key: str | None
    attempts: int
    max_attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    last_error: str | None
    held_for: str | None = Field(
        description="why Stripe lets nobody do it now; it goes on by itself when that has changed"
    )
    held_since: datetime | None
    version: str


class Pause(Outgoing):
    """A pause in force; null stands for any merchant or type."""

    merchant_id: ids.MerchantId | None
    task_type: str | None
    reason: str
    paused_at: datetime


class PauseList(Outgoing):
    """All pauses in force."""

    data: list[Pause]
