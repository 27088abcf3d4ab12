"""Contradictions: values that are valid by themselves and wrong together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A place in the document (`segments.0.then.window_days`) and what is wrong there."""

    place: str
    message: str


def rising_within(place: str, days: Sequence[int], window_days: int) -> Iterator[Contradiction]:
    """Check that days of messages rise, and that none is after the window."""
    if any(later <= earlier for earlier, later in pairwise(days)):
        yield Contradiction(place, f"must rise from day to day, not {tuple(days)}")
    elif days and days[-1] > window_days:
        yield Contradiction(place, f"must end by window_days ({window_days}), not {tuple(days)}")
