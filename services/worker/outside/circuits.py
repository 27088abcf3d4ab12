"""A circuit breaker per remote service: during an outage no calls are made.

    closed ──5 failures in a row──> open ──60 s──> half open: one call tries ──success──> closed
                                      ^                          │
                                      └──────────failure─────────┘

A failure is no answer, or a 5xx. Any other answer is a success, also a refusal: the service is up. While a circuit is
open, tasks that need the service wait and use up no tries. The state is kept in this process only: a new process
learns it within five calls, and two workers that differ for a while do no harm.
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
    """The service is not called for now; no try is used up."""

    def __init__(self, name: str, delay: timedelta) -> None:
        super().__init__(f"{name}: circuit open", delay=delay, counts=False)


class _Circuit:
    __slots__ = ("failures", "opened_until", "trying")

    def __init__(self) -> None:
        self.failures = 0
        self.opened_until: float | None = None
        self.trying = False


class Circuits:
    """The circuits of this process, by the service's name. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, open_seconds: float = OPEN_SECONDS) -> None:
        self._clock = clock
        self._open_seconds = open_seconds
        self._circuits: dict[str, _Circuit] = {}
        self._draw = random.Random()  # noqa: S311 - jitter, not a secret

    def _of(self, name: str) -> _Circuit:
        return self._circuits.setdefault(name, _Circuit())

    def check(self, name: str) -> None:
        """Raise CircuitOpen while calls would be refused. Does not count as a call: that asks `enter` itself."""
        circuit = self._of(name)
        if circuit.opened_until is None:
            return
        left = circuit.opened_until - self._clock()
        if left > 0 or circuit.trying:
            raise CircuitOpen(name, self._delay(left))

    def enter(self, name: str) -> None:
        """Ask to make one call; `left` must follow. Raises CircuitOpen, when half open while another call tries."""
        self.check(name)
        circuit = self._of(name)
        if circuit.opened_until is not None:
            circuit.trying = True

    def left(self, name: str, *, failed: bool | None) -> None:
        """Note how a call ended; None: unknown, because this side broke it off."""
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
        """Until the circuit is half open, and a little longer, at random, so that those who waited come spread out."""
        return timedelta(seconds=max(left, 0.5) * self._draw.uniform(1.0, 1.2))
