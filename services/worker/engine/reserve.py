"""How many tasks to claim in advance: enough that no worker waits, no more than are begun within a tenth of a second.

Tasks in the reserve wait in this process while other processes might run them, and a newer task waits behind them. So
the reserve follows the speed at which tasks are begun.
"""

_LONGEST_WAIT_SECONDS = 0.1


class Reserve:
    """Doubles the reserve when a full claim was begun at once, halves it when tasks waited long."""

    __slots__ = ("_least", "_most", "_slow", "_target")

    def __init__(self, least: int, most: int) -> None:
        self._least = self._target = least
        self._most = most
        self._slow = False

    @property
    def low(self) -> int:
        """Claim again when so few tasks wait: one claim's worth, so that they last until the next claim answers."""
        return self._target

    def wanted(self, ready: int, in_hand: int) -> int:
        """How many to claim, 0 while enough wait. `in_hand` also counts the tasks being performed and committed."""
        if ready > self.low or in_hand >= 3 * self._target:
            return 0
        return max(1, min(self._target, self._most, 3 * self._target - in_hand))

    def started(self, waited: float) -> None:
        """Note how many seconds a task waited from its claim until it was begun."""
        if waited > _LONGEST_WAIT_SECONDS:
            self._slow = True

    def claimed(self, count: int, limit: int) -> None:
        """Note how many tasks a claim of at most `limit` gave."""
        if self._slow:
            self._target = max(self._least, self._target // 2)
        elif count == limit:
            self._target = min(self._most, self._target * 2)
        self._slow = False
