"""A circuit breaker per remote service, so that an outage is waited out and not knocked at.

    closed ──5 failures in a row──> open ──60 s──> half open: one call tries ──success──> closed
                                      ^                          │
                                      └──────────failure─────────┘

A failure is no answer, or a 5xx; an answer of any other kind, a refusal too, is a success: the service is there. While
a circuit is open, tasks that need the service wait and burn no attempts. The state is this process's own: it is learnt
again within five calls, and two workers that differ for a while do no harm.
"""

import random
import time
from collections.abc import Callable
from datetime import timedelta

from services.worker import metrics
from services.worker.errors import RetryLater
from shared.logging import get_logger

log = get_logger(__name__)

FAILURES = 5
OPEN_SECONDS = 60.0


class CircuitOpen(RetryLater):
    """The service is not called for now; no attempt is used up."""

    def __init__(self, name: str, delay: timedelta) -> None:
        super().__init__(f"{name}: circuit open", delay=delay, counts=False)


class _Circuit:
    __slots__ = ("failures", "opened_until", "trying")

    def __init__(self) -> None:
        self.failures = 0
        self.opened_until: float | None = None
        self.trying = False


class Circuits:
    """The circuits of this process by the name of the service. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, open_seconds: float = OPEN_SECONDS) -> None:
        self._clock = clock
        self._open_seconds = open_seconds
        self._circuits: dict[str, _Circuit] = {}
        self._draw = random.Random()  # noqa: S311 - jitter, not a secret

    def _of(self, name: str) -> _Circuit:
        return self._circuits.setdefault(name, _Circuit())

    def check(self, name: str) -> None:
        """Raise CircuitOpen while calls would be refused. Takes no place: the call itself asks `enter`."""
        circuit = self._of(name)
        if circuit.opened_until is None:
            return
        left = circuit.opened_until - self._clock()
        if left > 0 or circuit.trying:
            raise CircuitOpen(name, self._delay(left))

    def enter(self, name: str) -> None:
        """Ask to make one call; `left` must follow. Raises CircuitOpen; half open, while another call tries."""
        self.check(name)
        circuit = self._of(name)
        if circuit.opened_until is not None:
            circuit.trying = True

    def left(self, name: str, *, failed: bool | None) -> None:
        """Note how a call ended; None: nobody knows, it was broken off from here."""
        circuit = self._of(name)
        half_open, circuit.trying = circuit.opened_until is not None, False
        if failed is None:
            return
        if not failed:
            if half_open:
                log.info("circuit_closed", remote=name)
            circuit.failures, circuit.opened_until = 0, None
            metrics.CIRCUIT_OPEN.labels(name).set(0)
            return
        circuit.failures += 1
        if half_open or circuit.failures >= FAILURES:
            if not half_open:
                log.warning("circuit_opened", remote=name, failures=circuit.failures)
            circuit.opened_until = self._clock() + self._open_seconds
            metrics.CIRCUIT_OPEN.labels(name).set(1)

    def _delay(self, left: float) -> timedelta:
        """Until the circuit is half open, and a little more, spread: those who waited do not come at once."""
        return timedelta(seconds=max(left, 0.5) * self._draw.uniform(1.0, 1.2))
