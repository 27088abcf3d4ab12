"""The merchant's rules as a document: what the database stores as JSON and a recovery is pinned to.

A document is never changed once written; a new version is a new document. What is not built yet is not accepted: a
policy must not promise what nobody does.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.worker.recovery.declines import DeclineCause

Hours = Annotated[int, Field(ge=1, le=60 * 24)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Delays(_Document):
    """Retry after the first delay, then the second, …; the last one repeats."""

    kind: Literal["delays"] = "delays"
    hours: Annotated[tuple[Hours, ...], Field(min_length=1, max_length=20)]


class Paydays(_Document):
    """Retry on the morning of the next likely payday, at least `after_hours` after the last attempt.

    The morning begins at `from_hour` in the card country's time and lasts `over_minutes`, in which attempts spread.
    """

    kind: Literal["paydays"] = "paydays"
    after_hours: Hours = 20
    from_hour: Annotated[int, Field(ge=4, le=20)] = 8
    over_minutes: Annotated[int, Field(ge=1, le=180)] = 120


Schedule = Annotated[Delays | Paydays, Field(discriminator="kind")]


class Schedules(_Document):
    """One schedule for each cause that can be soft."""

    insufficient_funds: Schedule = Paydays()
    try_later: Schedule = Delays(hours=(2, 8, 24, 48, 72, 96, 120))
    do_not_honor: Schedule = Delays(hours=(48, 72, 72, 96, 96, 120))
    # Limits run by the day, by the week or by the month: each first try comes an hour after one has passed.
    limit_exceeded: Schedule = Delays(hours=(25, 73, 169))
    expired_card: Schedule = Delays(hours=(72, 168))
    not_allowed: Schedule = Delays(hours=(72, 168))
    unknown: Schedule = Delays(hours=(48, 72, 96, 120))

    def for_cause(self, cause: DeclineCause) -> Schedule:
        """The schedule after a decline of this cause; the one for unknown causes where a cause has none."""
        by_cause: dict[DeclineCause, Schedule] = {
            DeclineCause.INSUFFICIENT_FUNDS: self.insufficient_funds,
            DeclineCause.TRY_LATER: self.try_later,
            DeclineCause.DO_NOT_HONOR: self.do_not_honor,
            DeclineCause.LIMIT_EXCEEDED: self.limit_exceeded,
            DeclineCause.EXPIRED_CARD: self.expired_card,
            DeclineCause.NOT_ALLOWED: self.not_allowed,
        }
        return by_cause.get(cause, self.unknown)


class Policy(_Document):
    """How a merchant's failed invoices are recovered.

    driver: `auto`, we retry where Stripe has nothing scheduled and keep away from what it has. With Stripe's automatic
    retries switched off that means: we make all retries.

    quiet_hours_around_stripe: no attempt of ours this long before and after one that Stripe has scheduled. A day keeps
    the two from adding up on the limits that banks count by the day, and gives a late attempt and its events time to
    be seen.

    window_days: from the opening to the end; 60 is the longest that Stripe itself retries.
    end_action: what happens to the subscription at the end; `leave` changes nothing.
    """

    schema_version: Literal[1] = 1
    driver: Literal["auto"] = "auto"
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 8
    window_days: Annotated[int, Field(ge=1, le=60)] = 21
    message_days: tuple[Annotated[int, Field(ge=0)], ...] = (0, 3, 7, 14, 21)
    schedules: Schedules = Schedules()
    minimum_gap_hours: Hours = 1
    quiet_hours_around_stripe: Annotated[int, Field(ge=1, le=7 * 24)] = 24
    end_action: Literal["leave"] = "leave"

    @model_validator(mode="after")
    def _message_days_rise_within_the_window(self) -> Self:
        if any(later <= earlier for earlier, later in zip(self.message_days, self.message_days[1:], strict=False)):
            raise ValueError(f"message_days must rise from day to day, not {self.message_days}")
        if self.message_days and self.message_days[-1] > self.window_days:
            raise ValueError(f"message_days must end by window_days ({self.window_days}), not {self.message_days}")
        return self

    @classmethod
    def default(cls) -> "Policy":
        """The policy of a merchant who has set nothing."""
        return cls()
