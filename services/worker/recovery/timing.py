"""The timing signal: picks the time at which another attempt is most likely to succeed.

The rules come first: a signal picks within the schedule's span, and the time that it picks must still pass the policy's
attempt times, the quiet period around Stripe's attempts and the networks' limits.
"""

from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from shared.policy import DeclineCause


class Timing(Protocol):
    """Picks a time. Pure: the same arguments give the same answer."""

    def pick(
        self, cause: DeclineCause, scheduled: datetime, between: tuple[datetime, datetime], zone: ZoneInfo
    ) -> datetime:
        """The time to try again after a decline of this cause: `scheduled`, or a better one `between` the two.

        All times are UTC; `zone` is the card country's. A picked hour keeps the minute and second of `scheduled`, which
        spread attempts over the hour.
        """


class ByTheRules:
    """No signal: the schedule's own time."""

    __slots__ = ()

    def pick(
        self,
        cause: DeclineCause,  # noqa: ARG002 - Timing's: the rules need no signal
        scheduled: datetime,
        between: tuple[datetime, datetime],  # noqa: ARG002 - Timing's: the rules need no signal
        zone: ZoneInfo,  # noqa: ARG002 - Timing's: the rules need no signal
    ) -> datetime:
        """The schedule's own time."""
        return scheduled


BY_THE_RULES: Timing = ByTheRules()
