"""The errors of a task, by what the engine does about each.

    WorkerError
    ├── RetryLater            not now: the task goes back and runs again
    │   └── MerchantUnreachable   Stripe does not let us act for the merchant: the task is held
    ├── Permanent             trying again cannot help: the task goes to the dead letters
    │   ├── UnknownTaskType   no handler in this version
    │   └── BadPayload        the payload is not what the handler needs
    ├── Refused               a remote service refused the request; the handler decides, else permanent (a 404: held)
    │   └── InvoiceMissing    Stripe does not know the invoice
    └── LeaseLost             the task belongs to another worker by now: this run must have no effect

Any other error is unexpected: the task is retried and, when its tries are used up, dead. `reason` is kept in the
task's row: short, for operators, and made of codes and ids only, never of a message that others wrote.
"""

import traceback
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import PurePath

import asyncpg

from shared.database import DatabaseAway

BUSY = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError, asyncpg.SerializationError)
"""Others held what was needed: the same may go well a moment later."""


class WorkerError(Exception):
    """A reason that may be stored: codes and ids, no personal data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RetryLater(WorkerError):
    """Run the task again after `delay` (None: the handler's backoff).

    `counts=False`: the failure was not the task's fault (a rate limit, an outage) and uses up no try.
    """

    def __init__(self, reason: str, *, delay: timedelta | None = None, counts: bool = True) -> None:
        super().__init__(reason)
        self.delay = delay
        self.counts = counts


class Hold(StrEnum):
    """Why tasks of a merchant are held: `scheduled_tasks.held_for`."""

    NO_ACCESS = "no_access"  # the platform's key does not reach the account; Stripe may not have told that it left
    NO_PERMISSION = "no_permission"  # a restricted key, or a read-only connection
    KEY_REFUSED = "key_refused"  # the platform's key itself: wrong, expired, or of the wrong kind
    WRONG_MODE = "wrong_mode"  # a key of test mode for what is in live mode, or the other way round
    MISSING = "object_missing"  # Stripe does not know something else than what was asked for


class MerchantUnreachable(RetryLater):
    """Stripe does not let us act for the merchant, or not do this. Somebody has to set a key or an account right.

    No sign that anything has ended: the task is held. It uses up no try and runs again after a delay that grows
    (`backoff.hold_delay`), until Stripe lets it.
    """

    def __init__(self, reason: str, why: Hold = Hold.NO_ACCESS) -> None:
        super().__init__(reason, counts=False)
        self.why = why


class Permanent(WorkerError):
    """Trying again cannot help."""


class UnknownTaskType(Permanent):
    """This version has no handler for the task."""

    def __init__(self, task_type: str) -> None:
        super().__init__(
            f"no handler for task type {task_type[:60]!r} in this version of the worker: "
            "deploy one that has it, then retry the task"
        )


class BadPayload(Permanent):
    """The payload does not fit the handler's model."""


class Refused(WorkerError):
    """A remote service refused. `code` and `param` are the service's own words from a closed list, else None."""

    def __init__(self, reason: str, *, status: int, code: str | None = None, param: str | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.param = param


class InvoiceMissing(Refused):
    """Stripe does not know the invoice that was asked for."""


class LeaseLost(WorkerError):
    """The lease ran out or the task was handed to another worker."""

    def __init__(self) -> None:
        super().__init__("the lease was lost")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a task that failed. `counts` and `delay` are as in RetryLater; `held` says why it is held."""

    reason: str
    final: bool
    counts: bool = True
    delay: timedelta | None = None
    unexpected: bool = False
    held: Hold | None = None


def judge(error: Exception) -> Verdict:
    """What to do with a task whose run raised `error`."""
    match error:
        case MerchantUnreachable() | Refused(status=404):
            # A 404: something is gone that nobody reckoned with. Callers say what it means if their own object is.
            why = error.why if isinstance(error, MerchantUnreachable) else Hold.MISSING
            return Verdict(error.reason, final=False, counts=False, held=why)
        case RetryLater():
            return Verdict(error.reason, final=False, counts=error.counts, delay=error.delay)
        case Permanent() | Refused():
            return Verdict(error.reason, final=True)
        case DatabaseAway():
            return Verdict("the database was away", final=False, counts=False)
        case _ if isinstance(error, BUSY):
            return Verdict(f"the database was busy: {type(error).__name__}", final=False)
        case _:
            return Verdict(_unexpected(error), final=False, unexpected=True)


def _unexpected(error: Exception) -> str:
    """The error's class and where it was raised; without its text, which may quote anything."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    sqlstate = f" ({error.sqlstate})" if isinstance(error, asyncpg.PostgresError) else ""
    return f"unexpected {type(error).__name__}{sqlstate}{where}"
