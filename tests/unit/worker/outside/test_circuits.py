"""The circuit breaker: when it opens, how it closes, and that one call at a time tries."""

import pytest

from services.worker.outside.circuits import CircuitOpen, Circuits


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _fail(circuits: Circuits, times: int) -> None:
    for _ in range(times):
        circuits.enter("stripe")
        circuits.left("stripe", failed=True)


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    circuits = Circuits(Clock())
    _fail(circuits, 4)
    circuits.check("stripe")
    _fail(circuits, 1)
    with pytest.raises(CircuitOpen) as opened:
        circuits.check("stripe")
    assert not opened.value.counts
    assert opened.value.delay is not None
    assert opened.value.delay.total_seconds() >= 60
    circuits.check("resend")


def test_a_success_between_failures_starts_the_count_again() -> None:
    circuits = Circuits(Clock())
    _fail(circuits, 4)
    circuits.left("stripe", failed=False)
    _fail(circuits, 4)
    circuits.check("stripe")


def test_after_a_minute_one_call_tries_and_its_success_closes_it() -> None:
    clock = Clock()
    circuits = Circuits(clock)
    _fail(circuits, 5)
    clock.now = 60.0
    circuits.enter("stripe")
    with pytest.raises(CircuitOpen):
        circuits.enter("stripe")
    circuits.left("stripe", failed=False)
    circuits.enter("stripe")


def test_a_try_that_fails_keeps_it_open_for_another_minute() -> None:
    clock = Clock()
    circuits = Circuits(clock)
    _fail(circuits, 5)
    clock.now = 60.0
    _fail(circuits, 1)
    clock.now = 119.0
    with pytest.raises(CircuitOpen):
        circuits.check("stripe")
    clock.now = 120.0
    circuits.check("stripe")


def test_a_try_that_is_broken_off_leaves_room_for_the_next() -> None:
    clock = Clock()
    circuits = Circuits(clock)
    _fail(circuits, 5)
    clock.now = 60.0
    circuits.enter("stripe")
    circuits.left("stripe", failed=None)
    circuits.enter("stripe")
