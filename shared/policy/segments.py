"""Which of a policy's segments an invoice belongs to, and what is left of its budget there.

The brain decides by these, and so does whoever says beforehand what another policy would change.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.money import Money
from shared.policy.causes import DeclineCause
from shared.policy.document import Conditions, Policy


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """What segments ask about an invoice. `cause` is the last decline's; `country` the card's, ISO 3166, upper case.

    A fact that is None or empty is not known, and satisfies no condition.
    """

    amount: Money
    cause: DeclineCause
    country: str | None = None
    products: frozenset[str] = frozenset()
    prices: frozenset[str] = frozenset()
    subscribed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a recovery may last; how many attempts of ours it has used, and how many are left."""

    ends_at: datetime
    used: int
    attempts_left: int

    def over(self, now: datetime) -> bool:
        """Whether nothing is tried any more."""
        return now >= self.ends_at or self.attempts_left <= 0


def segment_of(policy: Policy, facts: SegmentFacts, now: datetime) -> str | None:
    """The name of the first segment whose conditions all hold; None when none does."""
    return next((each.name for each in policy.segments if all(_conditions(each.when, facts, now))), None)


def budget_of(policy: Policy, opened_at: datetime, used: int) -> Budget:
    """What `policy`, as it is for a segment, leaves after `used` attempts: ours that reached Stripe, or may have."""
    return Budget(opened_at + timedelta(days=policy.window_days), used, max(0, policy.max_attempts - used))


def _conditions(when: Conditions, facts: SegmentFacts, now: datetime) -> Iterator[bool]:
    """Whether each given condition holds; unknown facts satisfy none."""
    amount, currency = facts.amount.amount, facts.amount.currency
    tenure = None if facts.subscribed_at is None else (now - facts.subscribed_at) // timedelta(days=1)
    if when.currencies is not None:
        yield currency in when.currencies
    if when.amount_at_least is not None:
        yield currency in when.amount_at_least and amount >= when.amount_at_least[currency]
    if when.amount_below is not None:
        yield currency in when.amount_below and amount < when.amount_below[currency]
    if when.products is not None:
        yield not facts.products.isdisjoint(when.products)
    if when.prices is not None:
        yield not facts.prices.isdisjoint(when.prices)
    if when.causes is not None:
        yield facts.cause in when.causes
    if when.countries is not None:
        yield facts.country in when.countries
    if when.tenure_days_at_least is not None:
        yield tenure is not None and tenure >= when.tenure_days_at_least
    if when.tenure_days_below is not None:
        yield tenure is not None and tenure < when.tenure_days_below
