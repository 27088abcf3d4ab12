"""What a task type is to the engine: load, perform, commit.

    load     a short transaction: read what is needed, and write what must be committed before the call
    perform  the call to the remote service, without a database connection
    commit   the effects, in the transaction that has just completed the task under its fence

Before `load` and `commit` the engine locks the recovery that the task names (so a stop comes either before or after),
where the handler asks for it also the customer's other open recoveries, and checks that the task is still this
worker's.

A new task type is one new file in `handlers/`: a class with `@handles("its_name")`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from services.worker.backoff import RetryPolicy
from services.worker.errors import BadPayload
from services.worker.outside.remote import Remote
from shared.database import Connection
from shared.ids import MerchantId, RecoveryId
from shared.queue.tasks import Task


class Payload(BaseModel):
    """A task's payload. Unknown fields are ignored, so that old workers can run new tasks."""

    model_config = ConfigDict(frozen=True, extra="ignore")


P = TypeVar("P", bound=Payload)
Plan = TypeVar("Plan")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Job(Generic[P]):
    """A claimed task with its payload validated."""

    claimed: Task
    payload: P

    @property
    def public_id(self) -> UUID:
        """The task's id: the same in every try."""
        return self.claimed.public_id

    @property
    def merchant_id(self) -> MerchantId:
        """The merchant that the task is for."""
        return self.claimed.merchant_id

    @property
    def recovery_id(self) -> RecoveryId | None:
        """The recovery that the task is about, if any."""
        return self.claimed.recovery_id

    @property
    def run_at(self) -> datetime:
        """When it was due, in business time."""
        return self.claimed.run_at

    @property
    def now(self) -> datetime:
        """The business time of the claim."""
        return self.claimed.now


@dataclass(frozen=True, slots=True)
class Nothing:
    """A plan or an outcome: there is nothing to do. `again` is when to run again, None for never."""

    why: str
    again: datetime | None = None


class Handler(ABC, Generic[P, Plan, Outcome]):
    """One task type. An instance has no state: one serves all tasks of the process at once."""

    payload: ClassVar[type[Payload]]
    retry: ClassVar[RetryPolicy] = RetryPolicy()
    calls: ClassVar[tuple[str, ...]] = ()
    """The remote services that a run needs: while the circuit of one is open, tasks wait and are not loaded."""
    locks_customer: ClassVar[bool] = False
    """Whether the customer's other open recoveries are locked together with the task's own."""
    loads_alone: ClassVar[bool] = False
    """Whether `load` reads so much that no other task's load is to wait for it in one transaction."""

    __slots__ = ()

    def understand(self, task: Task) -> Job[P]:
        """The task with its payload. Raises BadPayload, which names the fields and not their values."""
        try:
            payload = self.payload.model_validate(task.payload)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'payload'}: {each['type']}" for each in error.errors()[:5]
            )
            raise BadPayload(f"the payload of {task.task_type} is wrong: {wrong}") from None
        return Job(task, payload)  # type: ignore[arg-type]  # `payload` is P's class: ClassVar cannot say so

    async def load(self, db: Connection, task: Job[P]) -> Plan:
        """Read what `perform` needs. Committed before `perform` begins; loads of several tasks may share a transaction,
        unless the type loads alone.

        Left out: `perform` gets the payload, and no transaction is made.
        """
        raise NotImplementedError  # never called when left out: `loads` is false

    @abstractmethod
    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Call the remote services. May run again after a crash, so every change carries an idempotency key."""

    async def commit(self, db: Connection, task: Job[P], outcome: Outcome) -> None:
        """Write the effects. The same transaction completes the task; if the lease was lost, nothing is written.

        Several tasks may share the transaction. When one of them fails, all are rolled back and each is committed
        alone. So this may run twice, and must have no effect outside the database. Left out: there are no effects.
        """
        raise NotImplementedError  # never called when left out: `commits` is false

    @property
    def loads(self) -> bool:
        """Whether there is something to load."""
        return type(self).load is not Handler.load

    @property
    def commits(self) -> bool:
        """Whether there are effects."""
        return type(self).commit is not Handler.commit


AnyHandler = Handler[Any, Any, Any]
Handlers = Mapping[str, AnyHandler]

_registered: dict[str, AnyHandler] = {}

H = TypeVar("H", bound=type[AnyHandler])


def handles(task_type: str) -> Callable[[H], H]:
    """Register a handler class for a task type. Raises ValueError when another class has it already."""

    def register(handler: H) -> H:
        known = _registered.get(task_type)
        if known is not None and type(known).__qualname__ != handler.__qualname__:
            raise ValueError(f"task type {task_type!r} has two handlers: {type(known).__name__}, {handler.__name__}")
        _registered[task_type] = handler()
        return handler

    return register


def registered() -> Handlers:
    """The handlers by task type, as far as their modules were imported; `handlers.discover()` imports all."""
    return dict(_registered)
