"""What every part of a world document is made of: the values' types, and who is meant by a part."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.policy import WEEKDAYS
from shared.policy.document import Country
from shared.policy.fields import Hour

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole: 0.25 is a quarter. Also a chance."""
DayOfMonth = Annotated[int, Field(ge=1, le=31)]
Funding = Literal["credit", "debit", "prepaid"]
MedianHours = Annotated[float, Field(gt=0, le=24 * 60)]
Spread = Annotated[float, Field(ge=0, le=4)]
"""The standard deviation of the logarithm, of a lognormal distribution: 0 is always the median."""


def _says_where_from(source: str) -> str:
    if "assumed" not in source and "http" not in source:
        raise ValueError("say where this is published (an address), or that it is `assumed`")
    return source


Source = Annotated[str, StringConstraints(min_length=1), AfterValidator(_says_where_from)]
"""Where the facts of a group are published, by address, and which of them are assumed."""


class Part(BaseModel):
    """A part of a world document: never changed, and without any field that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class For(Part):
    """Whom a part is about. Left out: everybody."""

    countries: tuple[Country, ...] = ()
    funding: tuple[Funding, ...] = ()

    def fits(self, country: str, funding: str) -> bool:
        """Whether a card of this country and funding is meant."""
        return (not self.countries or country in self.countries) and (not self.funding or funding in self.funding)


class LocalSpan(Part):
    """Hours of the day, from one full hour up to the other, over midnight too."""

    from_hour: Hour
    until_hour: Hour

    def holds(self, hour: int) -> bool:
        """Whether the hour (0 to 23) is within."""
        if self.from_hour < self.until_hour:
            return self.from_hour <= hour < self.until_hour
        return hour >= self.from_hour or hour < self.until_hour


def number_of(weekday: str) -> int:
    """0 for Monday up to 6 for Sunday."""
    numbers: Sequence[str] = WEEKDAYS
    return numbers.index(weekday)
