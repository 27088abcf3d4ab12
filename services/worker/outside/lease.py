"""The worker's own view of how long it holds a task."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

from services.worker.errors import LeaseLost


class Lease:
    """Ends by itself on the process's monotonic clock, which also runs while the process is stopped.

    It never ends later than the database's lease: its time counts from before the statement that took or renewed the
    lease was sent. Code that is about to change something outside calls `check()` first, so that a worker that was
    stopped for longer than its lease changes nothing when it goes on.
    """

    __slots__ = ("_expires", "_length")

    def __init__(self, length: timedelta, taken_at: float | None = None) -> None:
        self._length = length.total_seconds()
        self._expires = (time.monotonic() if taken_at is None else taken_at) + self._length

    def renewed(self, sent_at: float) -> None:
        """Note a renewal whose statement was sent at `sent_at` (time.monotonic())."""
        self._expires = max(self._expires, sent_at + self._length)

    @property
    def held(self) -> bool:
        """Whether the lease is still held."""
        return time.monotonic() < self._expires

    def check(self) -> None:
        """Raise LeaseLost when the lease has run out."""
        if not self.held:
            raise LeaseLost

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """For a call that changes something: checked now and again when its slot has come. Raises LeaseLost."""
        self.check()
        token = _guarding.set(self)
        try:
            yield
        finally:
            _guarding.reset(token)


_guarding: ContextVar[Lease | None] = ContextVar("guarding", default=None)


def check_guarding() -> None:
    """Check again the lease that guards the present call, if there is one. Raises LeaseLost."""
    lease = _guarding.get()
    if lease is not None:
        lease.check()
