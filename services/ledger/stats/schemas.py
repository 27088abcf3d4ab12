"""The numbers as the API shows them."""

from datetime import date, datetime
from uuid import UUID

from pydantic import Field

from services.ledger.api.fields import (
    Currency,
    Day,
)
from services.ledger.api.schemas import OfMerchant, Outgoing


class DailyRange(OfMerchant):
    """Days in UTC, both ends included, at most 366; by default the 30 days that end today."""

    from_: Day | None = Field(None, alias="from")
    to: Day | None = None
    currency: Currency | None = None


class Sum(Outgoing):
    """An amount, and the number of recoveries in it."""

    amount: int
    count: int


class Money(Outgoing):
    """The recoveries' numbers in one currency."""

    currency: str
    failed: Sum = Field(description="every recovery that was opened: what was due")
    recovered: Sum = Field(description="what is left of the money: less refunded and disputed, with what was won back")
    refunded: int = Field(description="recovered money that was refunded; less refunds that failed")
    disputed: int = Field(description="recovered money that was withdrawn by disputes")
    won_back: int = Field(description="what came back of it, because the dispute was won")
    exhausted: Sum
    stopped: Sum
    attempts: int
    messages: int


class Totals(Money):
    """The numbers over all time."""

    at_risk: Sum = Field(
        description="failed less what was recovered at first, exhausted and stopped: the recoveries that go on"
    )
    recovery_rate: float | None = Field(description="recovered ÷ failed, by amount; null when nothing has failed")


class Capped(Outgoing):
    """A count that stops at 10,000; `more` says that it did."""

    count: int = Field(ge=0, le=10_000)
    more: bool


class QueueHealth(Outgoing):
    """The queue: `due` tasks are pending ones whose time has come; for all merchants together without paused ones."""

    due: Capped
    pending: Capped
    running: Capped
    dead: Capped
    oldest_due_seconds: float | None = Field(description="how long the oldest due task has waited; null without one")


class Stats(Outgoing):
    """Everything for a dashboard's first screen. One entry per currency: currencies are never added up."""

    merchant_id: UUID | None = Field(description="null: all merchants")
    as_of: datetime
    money: list[Totals]
    queue: QueueHealth


class DailyMoney(Money):
    """The numbers of one day (UTC)."""

    date: date


class Daily(Outgoing):
    """One entry per day and currency in which something happened, oldest first."""

    merchant_id: UUID | None = Field(description="null: all merchants")
    from_: date = Field(alias="from")
    to: date
    data: list[DailyMoney]
