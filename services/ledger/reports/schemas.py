"""The report on recoveries as the API shows it."""

from datetime import date, datetime
from uuid import UUID

from pydantic import Field

from services.ledger.api.fields import (
    Day,
)
from services.ledger.api.schemas import OfMerchant, Outgoing
from services.ledger.reports.lift import Verdict
from services.ledger.reports.store import GroupBy
from services.ledger.stats.schemas import Sum


class ReportRange(OfMerchant):
    """The recoveries that were opened on these days (UTC), both included, at most 366 days; by default the 90 days
    that end today."""

    from_: Day | None = Field(None, alias="from")
    to: Day | None = None
    group_by: GroupBy | None = Field(
        None,
        description="`cause` of the first decline, `policy_version` that it was opened under, `cohort_week` of the "
        "first failure (its Monday, UTC), `attribution` of the payment; without it everything is one group",
    )


class Ours(Outgoing):
    """What counts as ours: collected by our retries, or paid by the customer after a message of ours."""

    retry: Sum
    message: Sum


class Elsewhere(Outgoing):
    """Does not count as ours: collected by Stripe's own retries, or paid without a message or outside Stripe."""

    stripe: Sum
    customer: Sum


class ReportMoney(Outgoing):
    """One currency's numbers. Ours: the amount collected that is left; others: the amount due."""

    currency: str
    failed: Sum = Field(description="every recovery that was opened in the range")
    young: Sum = Field(description="those whose window is not over; nothing below counts them, ended or not")
    counted: Sum = Field(description="failed less young: what the shares are of")
    recovered: Sum = Field(description="by us: `ours.retry` and `ours.message`")
    recovered_share: float | None = Field(description="recovered ÷ counted, by count; null when nothing is counted")
    recovered_amount_share: float | None = Field(description="the same by amount")
    refunded: int = Field(description="refunded of what is ours, and not part of `recovered`")
    disputed: int = Field(description="withdrawn of it by disputes that were not won")
    ours: Ours
    elsewhere: Elsewhere
    unpaid: Sum
    taken_back: Sum = Field(description="those of `unpaid` that were ours until all was refunded or disputed")


class LiftGroup(Outgoing):
    """How many recoveries were drawn into a group, and how many of them were paid, by anybody.

    A payment of ours of which nothing is left, because it was refunded or disputed, counts as none.
    """

    assigned: int
    paid: int
    paid_share: float | None


class Lift(Outgoing):
    """The paid share of the treated recoveries minus that of the holdout, and its interval.

    `gain`, `loss`: the whole interval is above, below 0. `unclear`: it contains 0. `not_enough_data`: fewer than 30 in
    one of the two groups, so there is no number. `no_holdout`: the policies held nothing out. `not_applicable`: the
    report is grouped by an outcome. Only recoveries count whose window is over and that were opened under a policy with
    a holdout; if shares differ, each is compared with its own holdout.
    """

    verdict: Verdict
    treatment: LiftGroup
    holdout: LiftGroup
    difference: float | None
    low: float | None
    high: float | None
    confidence: float


class ReportGroup(Outgoing):
    """A group's numbers, by currency: currencies are never added up."""

    group: str | None = Field(description="`all` without `group_by`; null: no decline was read")
    label: str = Field(description="for people")
    money: list[ReportMoney]
    lift: Lift = Field(description="by count, over all currencies")


class RecoveryReport(Outgoing):
    """The outcomes of the recoveries that were opened in a range. Weeks in their order, other groups by size."""

    merchant_id: UUID | None = Field(description="null: all merchants")
    from_: date = Field(alias="from")
    to: date
    as_of: datetime
    group_by: GroupBy | None
    data: list[ReportGroup]
