"""In which hour of their day customers are written to: that part of a policy."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.policy.fields import Document, Hour, Zone


class AnyHour(Document):
    """A message goes out when it is due, at whatever hour that is: the hour at which the renewal failed."""

    kind: Literal["any"] = "any"


class HourWindow(Document):
    """A message that is due outside of these hours waits for the next time at which they begin.

    from_hour, until_hour: from the one full hour up to the other, over midnight too. zone: as for attempts.
    """

    kind: Literal["window"] = "window"
    from_hour: Hour = 8
    until_hour: Hour = 20
    zone: Literal["card_country"] | Zone = "card_country"

    @model_validator(mode="after")
    def _some_hour_is_within(self) -> Self:
        if self.from_hour == self.until_hour:
            raise ValueError("from_hour and until_hour are the same: no hour would be left; every hour is `any`")
        return self

    def holds(self, hour: int) -> bool:
        """Whether the hour (0 to 23) is within."""
        if self.from_hour < self.until_hour:
            return self.from_hour <= hour < self.until_hour
        return hour >= self.from_hour or hour < self.until_hour


class LikeliestHour(Document):
    """A message waits, for less than a day, for the hour at which customers are likeliest to answer, if that is worth
    the wait (`services/worker/recovery/message_hours.py`): by what was learned of their answers, in the card country's
    time. Before anything was learned: not at night, and at once by day.
    """

    kind: Literal["likeliest"] = "likeliest"


MessageHours = Annotated[AnyHour | HourWindow | LikeliestHour, Field(discriminator="kind")]
