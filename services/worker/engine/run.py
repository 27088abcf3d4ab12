"""One claimed task in this worker's hands."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from services.worker import metrics
from services.worker.handler import AnyHandler, Handlers
from services.worker.outside.lease import Lease
from shared.queue.tasks import Task


class Kind:
    """A task type as the engine sees it: its handler, which steps it has, its metrics' label and counters."""

    __slots__ = ("claimed", "commits", "completed", "handler", "label", "loads", "lost", "seconds")

    def __init__(self, label: str, handler: AnyHandler | None) -> None:
        self.label = label
        self.handler = handler
        self.loads = handler is not None and handler.loads
        self.commits = handler is not None and handler.commits
        self.claimed = metrics.CLAIMED.labels(label)
        self.completed = metrics.COMPLETED.labels(label)
        self.lost = metrics.LOST_LEASES.labels(label)
        self.seconds = metrics.SECONDS.labels(label)


def kinds_of(handlers: Handlers) -> tuple[Mapping[str, Kind], Kind]:
    """The kinds by task type, and the kind of every type that has no handler."""
    return {name: Kind(name, handler) for name, handler in handlers.items()}, Kind("unknown", None)


@dataclass(slots=True, eq=False)
class Run:
    """`worker` is the asyncio task that performs it, else None; `ending`: its effects are being committed.

    `lost`: the task belongs to another run by now, and this one is to stop.
    """

    task: Task
    kind: Kind
    lease: Lease
    claimed_at: float
    worker: asyncio.Task[None] | None = None
    ending: bool = False
    lost: bool = False

    def ids(self) -> Mapping[str, str]:
        """What its log lines carry."""
        task = self.task
        ids = {"task_id": str(task.public_id), "task_type": task.task_type, "merchant_id": task.merchant_id}
        if task.recovery_id is not None:
            ids["recovery_id"] = str(task.recovery_id)
        return ids

    @property
    def age(self) -> float:
        """Seconds since its claim."""
        return time.monotonic() - self.claimed_at
