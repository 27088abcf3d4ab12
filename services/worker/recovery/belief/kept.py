"""A bounded memory of what was worked out: what was kept first is forgotten first."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by key, at most so many.

    Unlike `functools.lru_cache` it needs no argument to be kept: a merchant's belief goes when nobody uses it, and what
    was worked out of it is forgotten in its turn.
    """

    __slots__ = ("_most", "_values")

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """What was kept; None if it was not, or is forgotten."""
        return self._values.get(key)

    def keep(self, key: K, value: V) -> V:
        """Keep the value, and return it."""
        self._values[key] = value
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
