"""How far to claim ahead: enough that no worker waits for a claim, no more than is begun within a tenth of a second.

What is claimed ahead waits in this process while others might take it, and a task that comes meanwhile waits behind it:
so the reserve follows the speed at which tasks are begun.
"""

_LONGEST_WAIT_SECONDS = 0.1


class Reserve:
    """Doubles the reserve when a claim was full and begun at once, halves it when tasks waited for long."""

    __slots__ = ("_least", "_most", "_slow", "_target")

    def __init__(self, least: int, most: int) -> None:
        self._least = self._target = least
        self._most = most
        self._slow = False

    @property
    def low(self) -> int:
        """Claim again when so few wait: as many as a claim brings, so that they last while the next is on its way."""
        return self._target

    def wanted(self, ready: int, in_hand: int) -> int:
        """How many to claim, 0 while enough are there. `in_hand` counts what is performed and committed as well."""
        if ready > self.low or in_hand >= 3 * self._target:
            return 0
        return max(1, min(self._target, self._most, 3 * self._target - in_hand))

    def started(self, waited: float) -> None:
        """Note how long a task waited from its claim until it was begun."""
        if waited > _LONGEST_WAIT_SECONDS:
            self._slow = True

    def claimed(self, count: int, limit: int) -> None:
        """Note what a claim of at most `limit` brought."""
        if self._slow:
            self._target = max(self._least, self._target // 2)
        elif count == limit:
            self._target = min(self._most, self._target * 2)
        self._slow = False
