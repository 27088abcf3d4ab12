"""The timing signal: what is believed of customers, and the hour of the day that is picked within a schedule's span.

The rules come first: what is planned or picked must still pass the policy's attempt times, the quiet period around
Stripe's attempts and the networks' limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from services.worker.recovery.belief.beliefs import Learned, believed_before
from services.worker.recovery.belief.customers import Earlier, believed_of
from services.worker.recovery.belief.doubt import EXPLORES, PLANS, TELLS
from services.worker.recovery.belief.stories import Stories
from services.worker.recovery.message_answers import NOTHING_LEARNED, Answers
from services.worker.recovery.model import Card
from shared.money import Money
from shared.policy import DeclineCause


class Hours(Protocol):
    """Picks a time near a scheduled one. Pure: the same arguments give the same answer."""

    def pick(
        self, cause: DeclineCause, scheduled: datetime, between: tuple[datetime, datetime], zone: ZoneInfo
    ) -> datetime:
        """The time to try again after a decline of this cause: `scheduled`, or a better one `between` the two.

        All times are UTC; `zone` is the card country's. A picked hour keeps the minute and second of `scheduled`, which
        spread attempts over the hour.
        """


@dataclass(frozen=True, slots=True)
class Timing:
    """What was learned: the belief by which schedules of the kind `likeliest` plan, and the hours by which the others
    pick; and the hours in which customers answer messages. Where nothing was learned, the prior and the schedule's own
    time. `earlier`: what is known of the customer. `explores`: whether this recovery is planned with all doubt of what
    was learned, to see what other times are worth."""

    hours: Hours | None = None
    learned: Learned | None = None
    answers: Answers = NOTHING_LEARNED
    earlier: Earlier | None = None
    explores: bool = False

    def pick(
        self, cause: DeclineCause, scheduled: datetime, between: tuple[datetime, datetime], zone: ZoneInfo
    ) -> datetime:
        """As `Hours.pick`."""
        return scheduled if self.hours is None else self.hours.pick(cause, scheduled, between, zone)

    def believed(
        self, cause: DeclineCause, card: Card | None, amount: Money | None, wages: Mapping[str, float]
    ) -> Stories:
        """What is believed after a decline of this cause, of so much: of this customer, if there were earlier
        recoveries; else of all who are like it. `wages`: the shares of paydays that the merchant knows."""
        return self._stories(EXPLORES if self.explores else PLANS, cause, card, amount, wages)

    def told(self, cause: DeclineCause, card: Card | None, amount: Money | None, wages: Mapping[str, float]) -> Stories:
        """As `believed`, by which the chances of attempts are told."""
        return self._stories(TELLS, cause, card, amount, wages)

    def _stories(
        self, doubt: float, cause: DeclineCause, card: Card | None, amount: Money | None, wages: Mapping[str, float]
    ) -> Stories:
        if self.earlier is not None and self.earlier.outcomes:
            return believed_of(self.earlier, self.learned, cause, card, amount, wages, doubt)
        if self.learned is None:
            return believed_before(cause, card, wages)
        return self.learned.believed(cause, card, amount, wages, doubt)


BY_THE_RULES = Timing()
"""Nothing was learned."""
