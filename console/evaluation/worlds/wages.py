"""When wages and benefits arrive, as a part of a world document."""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field

from console.evaluation.worlds.base import DayOfMonth, For, Part, Share, Source, number_of
from services.worker.recovery.business_days import A_DAY, is_business_day, last_business_day
from shared.policy.document import Weekday
from shared.policy.fields import Hour

# So that "even" weeks have the numbers of ISO 8601 in 2026, also in the years around it.
_EVEN_MONDAY: Final = date(2026, 1, 5)


class Weekly(Part):
    """Every week on a weekday."""

    rhythm: Literal["weekly"]
    weekday: Weekday

    def falls_on(self, day: date, country: str | None) -> bool:  # noqa: ARG002 - only some rhythms ask for holidays
        """Whether the day is a payday. `country`: whose public holidays are no business days; None: nobody's."""
        return day.weekday() == number_of(self.weekday)

    def __str__(self) -> str:
        return f"every {self.weekday}"


class Biweekly(Part):
    """Every second week on a weekday: `even` are the weeks that have even numbers by ISO 8601 in 2026."""

    rhythm: Literal["biweekly"]
    weekday: Weekday
    weeks: Literal["even", "odd"]

    def falls_on(self, day: date, country: str | None) -> bool:  # noqa: ARG002 - only some rhythms ask for holidays
        """Whether the day is a payday."""
        is_even = (day - _EVEN_MONDAY).days // 7 % 2 == 0
        return day.weekday() == number_of(self.weekday) and is_even == (self.weeks == "even")

    def __str__(self) -> str:
        return f"every second {self.weekday}"


class DaysOfMonth(Part):
    """On one or more days of the month (twice: semimonthly); in a shorter month on its last day instead."""

    rhythm: Literal["days_of_month"]
    days: Annotated[tuple[DayOfMonth, ...], Field(min_length=1, max_length=31)]

    def falls_on(self, day: date, country: str | None) -> bool:  # noqa: ARG002 - only some rhythms ask for holidays
        """Whether the day is a payday."""
        is_last = (day + A_DAY).day == 1
        return day.day in self.days or (is_last and max(self.days) > day.day)

    def __str__(self) -> str:
        return f"on the {' and '.join(str(day) for day in self.days)}"


class LastBusinessDay(Part):
    """On the last business day of the month."""

    rhythm: Literal["last_business_day"]

    def falls_on(self, day: date, country: str | None) -> bool:
        """Whether the day is a payday."""
        return day == last_business_day(day, country)

    def __str__(self) -> str:
        return "on the last business day"


class BusinessDay(Part):
    """On the n-th business day of the month."""

    rhythm: Literal["business_day"]
    number: Annotated[int, Field(ge=1, le=15)]

    def falls_on(self, day: date, country: str | None) -> bool:
        """Whether the day is a payday."""
        earlier = sum(is_business_day(day.replace(day=n), country) for n in range(1, day.day))
        return is_business_day(day, country) and earlier == self.number - 1

    def __str__(self) -> str:
        return f"on business day {self.number}"


class LastWeekday(Part):
    """On the last Friday (Thursday, …) of the month."""

    rhythm: Literal["last_weekday"]
    weekday: Weekday

    def falls_on(self, day: date, country: str | None) -> bool:  # noqa: ARG002 - only some rhythms ask for holidays
        """Whether the day is a payday."""
        return day.weekday() == number_of(self.weekday) and (day + 7 * A_DAY).month != day.month

    def __str__(self) -> str:
        return f"on the last {self.weekday}"


class NthWeekday(Part):
    """On the second Wednesday (third Friday, …) of the month."""

    rhythm: Literal["nth_weekday"]
    weekday: Weekday
    number: Annotated[int, Field(ge=1, le=4)]

    def falls_on(self, day: date, country: str | None) -> bool:  # noqa: ARG002 - only some rhythms ask for holidays
        """Whether the day is a payday."""
        return day.weekday() == number_of(self.weekday) and (day.day - 1) // 7 == self.number - 1

    def __str__(self) -> str:
        return f"on {self.weekday} {self.number} of the month"


class Calendar(Part):
    """On these dates, as a payer has published them."""

    rhythm: Literal["calendar"]
    dates: Annotated[tuple[date, ...], Field(min_length=1)]

    def falls_on(self, day: date, country: str | None) -> bool:  # noqa: ARG002 - only some rhythms ask for holidays
        """Whether the day is a payday."""
        return day in self.dates

    def __str__(self) -> str:
        return "by a calendar"


class Irregular(Part):
    """At any time, for each customer at others: so many days apart on average, exponentially distributed."""

    rhythm: Literal["irregular"]
    every_days: Annotated[float, Field(gt=0, le=90)]

    def falls_on(self, day: date, country: str | None) -> bool:  # noqa: ARG002 - only some rhythms ask for holidays
        """No day is everybody's payday."""
        return False

    def __str__(self) -> str:
        return f"every {self.every_days:g} days at random"


Rhythm = Annotated[
    Weekly | Biweekly | DaysOfMonth | LastBusinessDay | BusinessDay | LastWeekday | NthWeekday | Calendar | Irregular,
    Field(discriminator="rhythm"),
]


class Noise(Part):
    """This share of paydays is off: by 1 to `days` days, as often earlier as later."""

    share: Share
    days: Annotated[int, Field(ge=1, le=10)]


class WageGroup(Part):
    """Customers who are paid in the same rhythm.

    not_on_business_days: what happens when the day is none: paid `before` it, `after` it, or on the day (`same`).
    holidays: whether public holidays of the country are no business days, too. hour: from when on the money is there,
    in local time. shift_days: this many days later than the rhythm says.
    """

    share: Share
    on: Rhythm
    not_on_business_days: Literal["before", "after", "same"] = "same"
    holidays: bool = False
    hour: Hour = 5
    noise: Noise | None = None
    shift_days: Annotated[int, Field(ge=-15, le=15)] = 0


class WageSet(For):
    """How customers of some countries (or with some cards) are paid. The first set that fits a customer counts."""

    source: Source
    groups: Annotated[tuple[WageGroup, ...], Field(min_length=1, max_length=40)]


class Wages(Part):
    """When wages and benefits arrive. shift_days: all of them so many days later, beside each group's own shift."""

    shift_days: Annotated[int, Field(ge=-15, le=15)] = 0
    sets: Annotated[tuple[WageSet, ...], Field(min_length=1, max_length=40)]
