"""Customers whose payments have failed before: their earlier failures, drawn by a world's `renewals.again`.

An earlier failure is of the same day of a month before, with the same amount and card: the country, the network, the
funding, the wage group and the bank are the customer's. All else is drawn anew: whether and when it clears, which
paydays were off, how long the money stayed. Half of them have the decline code of the present failure (assumed: who is
short of money once often is again), the others one of those that clear without the customer, because a card that was
declined for good is not charged again.

What is drawn here has sequences of its own: the customers of a world, and what becomes of the present failures, are the
same whatever the share.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final

from console.evaluation.population import DAYS, FIRST_DAY, SPREADS, Customer, Failure, Kind, Population
from console.evaluation.worlds import World
from console.evaluation.worlds.document import Code

MONTHS: Final = 6
AT_MOST: Final = 3
SAME_CODE: Final = 0.5


def population_of(world: World, seed: int | str) -> Iterator[Failure]:
    """The failures of the compared days, some with the earlier ones of their customers, if the world has such."""
    return ComingAgain(world, seed) if world.renewals.again else Population(world, seed)


class ComingAgain(Population):
    """A population of which some have failed before."""

    def __init__(self, world: World, seed: int | str, first_day: date = FIRST_DAY, days: int = DAYS) -> None:
        super().__init__(world, seed, first_day, days)
        self._again = Random(f"{seed}/again")  # noqa: S311 - a simulation has to be repeatable
        before = timedelta(days=31 * MONTHS)
        self._before = Population(world, f"{seed}/again", first_day - before, days + before.days)
        codes = [each for each in world.causes.codes if each.clears and each.share]
        self._clearing, self._shares = codes, [each.share for each in codes]

    def __next__(self) -> Failure:
        kind, model = self._drawn()
        customer = Customer()
        failure = self.failure(kind, model, customer)
        if not self._clearing or self._again.random() >= self._world.renewals.again:
            return failure
        months = self._again.sample(range(1, MONTHS + 1), self._again.randint(1, AT_MOST))
        earlier = [self._earlier(kind, model, customer, each) for each in sorted(months, reverse=True)]
        return replace(failure, earlier=tuple(earlier))

    def _earlier(self, kind: Kind, model: Code, customer: Customer, months: int) -> Failure:
        if not model.clears or self._again.random() >= SAME_CODE:
            model = self._again.choices(self._clearing, self._shares)[0]
        opened_at = months_before(kind.opened, months).timestamp()
        spread = self._again.randrange(SPREADS)
        return self._before.failure(replace(kind, code=model.code, opened_at=opened_at, spread=spread), model, customer)


def months_before(at: datetime, months: int) -> datetime:
    """The same day and time so many months before, in UTC; the month's last day where it has fewer."""
    number = at.year * 12 + at.month - 1 - months
    first = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return at.replace(year=first.year, month=first.month, day=min(at.day, last.day))
