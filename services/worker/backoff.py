"""When a failed task runs again: exponential backoff with full jitter, as a pure function.

Full jitter (a delay drawn evenly between nothing and the ceiling) spreads many tasks that failed together best:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`base` is the ceiling of the first delay; each further one is `factor` times it, at most `longest`.

    `jitter` is how much of the delay is drawn: 1 all of it (full jitter), 0 nothing. How often a task is tried at all
    stands in its row (`shared.queue.tries`).
    """

    base: timedelta = timedelta(seconds=2)
    factor: float = 3.0
    longest: timedelta = timedelta(hours=1)
    jitter: float = 1.0

    def __post_init__(self) -> None:
        if not (self.factor >= 1 and 0 <= self.jitter <= 1):
            raise ValueError(f"expected factor >= 1 and a jitter from 0 to 1, not {self}")
        if not timedelta() < self.base <= self.longest:
            raise ValueError(f"expected 0 < base <= longest, not {self.base} and {self.longest}")

    def ceiling(self, tries: int) -> timedelta:
        """The longest delay after so many tries."""
        # Compared as a logarithm would be: a power too large for a float never arises.
        delay = self.base
        for _ in range(tries - 1):
            delay = min(delay * self.factor, self.longest)
            if delay == self.longest:
                break
        return delay

    def delay(self, tries: int, draw: float) -> timedelta:
        """The delay after so many tries; `draw` is evenly from [0, 1)."""
        return self.ceiling(tries) * (1 - self.jitter * draw)
