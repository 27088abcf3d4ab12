"""A sequence that is worked out only as far as it is read."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Unfolding(Sequence[T]):
    """Items that are worked out when they are first needed, and kept."""

    __slots__ = ("_known", "_source")

    def __init__(self, source: Iterator[T]) -> None:
        self._source = source
        self._known: list[T] = []

    def __iter__(self) -> Iterator[T]:
        known, source, number = self._known, self._source, 0
        while True:
            if number == len(known):
                item = next(source, None)
                if item is None:
                    return
                known.append(item)
            yield known[number]
            number += 1

    def __getitem__(self, index: int) -> T:  # type: ignore[override]  # nobody slices one
        while len(self._known) <= index:
            item = next(self._source, None)
            if item is None:
                raise IndexError(index)
            self._known.append(item)
        return self._known[index]

    def __len__(self) -> int:
        self._known.extend(self._source)
        return len(self._known)
