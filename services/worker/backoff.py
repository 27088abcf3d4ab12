"""When a failed task runs again: exponential backoff with full jitter; and when a held one does. Pure functions.

Full jitter draws the delay evenly between zero and the ceiling. It spreads tasks that failed together best:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`base` is the ceiling of the first delay; each further one is `factor` times it, at most `longest`.

    `jitter` is the share of the delay that is random: 1 all of it (full jitter), 0 nothing. The most tries of a task
    are in its row (`shared.queue.tries`).
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
        # Compared step by step, so that no power becomes too large for a float.
        delay = self.base
        for _ in range(tries - 1):
            delay = min(delay * self.factor, self.longest)
            if delay == self.longest:
                break
        return delay

    def delay(self, tries: int, draw: float) -> timedelta:
        """The delay after so many tries; `draw` is a random number from [0, 1), evenly distributed."""
        return self.ceiling(tries) * (1 - self.jitter * draw)


# A held task waits for a person. Rarely enough that a merchant's many tasks do not use up its rate of calls, often
# enough that work goes on within the hour once the key is right again.
HOLD_SHORTEST, HOLD_LONGEST = timedelta(minutes=1), timedelta(hours=1)


def hold_delay(held: timedelta, draw: float) -> timedelta:
    """How long a task waits that has been `held` so long: half as long again, give or take a fifth."""
    return min(max(held / 2, HOLD_SHORTEST), HOLD_LONGEST) * (0.8 + 0.4 * draw)
