"""What is there after the start is no longer looked through; what comes later still is."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from shared import garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The collector of the other tests."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Loop:
    """Refers to itself: only the collector finds it."""

    def __init__(self) -> None:
        self.me = self


def test_what_the_start_made_is_frozen_and_what_follows_is_collected() -> None:
    garbage.tune()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == garbage.YOUNG
    gone = weakref.ref(Loop())
    gc.collect()
    assert gone() is None
