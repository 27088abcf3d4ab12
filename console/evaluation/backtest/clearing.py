"""How likely another attempt would have succeeded, learned from the merchant's own attempts.

Between two attempts with the same payment method an event may happen that makes the bank say yes: money comes in, a
limit is reset. Such events are modelled as a Poisson process, at a rate that depends on the cause of the decline and on
the time since the renewal failed; for missing funds there is one more rate for the morning of a likely payday, which
counts for two days. An attempt succeeds exactly when an event has come since the last failed attempt, at u':

    P(yes at u | no at u') = 1 - exp(-(sum over spans of days between u' and u in the span, times its rate))

where a payday between the two adds its own rate to the sum. So attempts in quick succession gain nothing, and the gain
of a later attempt depends on the time waited. For each pair of attempts history says only whether an event came between
them, not when, and nothing after the last one (interval and right censoring); the formula takes both into account. The
rates are found by expectation and maximization, which is exact here: the expected number of events in each span, given
the data, over the days watched (Dempster, Laird and Rubin 1977). Each rate has a Gamma prior worth half an event, at
the rate of all causes together: so little data changes little, and no rate becomes zero or infinite. In spans in which
the merchant never retried the rate is a guess: half of the one before, because most clearing happens early.

Customers who pay by themselves are a second, independent process, whose times are known.

Whether another payment method that the customer has on file works at its first try does not depend on the time: that is
one chance, the mean of a Beta distribution of the merchant's own such tries. Few merchants have any: then it is one in
two, and anything between never and always in the intervals. If it is declined, it is taken to be as a card after an
unspecific decline.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from math import exp, expm1
from typing import Final

from services.worker.recovery import DeclineCause
from services.worker.recovery.schedule import is_payday
from services.worker.recovery.timezones import zone_of

HOUR: Final = 3600
DAY: Final = 86_400

# Where spans end, in hours since the renewal failed; the last goes on to the end of the longest window.
SPANS: Final = (6, 24, 72, 168, 336, 504, 1440)
# Index of the two payday rates: in the first week, and later.
PAYDAY: Final = len(SPANS)
WEEK_HOURS: Final = 168
RATES: Final = len(SPANS) + 2
# Times are rounded to this grid (hours), so that nearly equal times are equal.
GRID: Final = (0, 1, 2, 4, 6, 9, 12, 16, 20, *range(24, 72, 6), *range(72, 168, 12), *range(168, 1441, 24))

MORNING_HOUR: Final = 5
FRESH: Final = timedelta(days=2)

PRIOR_EVENTS: Final = 0.5
# Before any data: one in fifty clears per day, one in ten on a payday.
FIRST_RATES: Final = (*(0.02,) * len(SPANS), 0.1, 0.1)
FIRST_CUSTOMER_RATE: Final = 0.01
# How often another payment method on file fails and works, before any data: all chances are equally likely. Nobody
# publishes a share that says of which customers.
BACKUP_PRIOR: Final = (1.0, 1.0)
# With fewer days watched, a span has too little data; its rate is derived from the span before.
UNSEEN_DAYS: Final = 1.0
FADES: Final = 0.5
MOST_ROUNDS: Final = 60
CLOSE_ENOUGH: Final = 1e-3

# What an attempt was exposed to: (index of the rate, how much of it), by days or by one payday.
Exposure = tuple[tuple[int, float], ...]
# The last failed attempt, this one (places in GRID), and whether a payday was fresh.
Cell = tuple[DeclineCause, int, int, bool]
Rates = Mapping[DeclineCause, tuple[float, ...]]


def grid_place(hours: float) -> int:
    """The index in GRID nearest to so many hours; the last one beyond its end."""
    return _PLACES[min(int(hours), len(_PLACES) - 1)]


# For each full hour the nearest place of the grid.
_PLACES: Final = tuple(min(range(len(GRID)), key=lambda place: abs(GRID[place] - hour)) for hour in range(GRID[-1] + 1))


@cache
def exposure(from_: int, to: int, payday: bool) -> Exposure:
    """The exposure of an attempt at the grid's index `to` since the one at `from_`, in days (and paydays)."""
    begins, ends = GRID[from_], max(GRID[to], GRID[from_] + 0.25)
    found: list[tuple[int, float]] = []
    lower = 0.0
    for index, upper in enumerate(SPANS):
        hours = min(ends, upper) - max(begins, lower)
        if hours > 0:
            found.append((index, hours / 24))
        lower = upper
    if payday:
        found.append((PAYDAY if ends <= WEEK_HOURS else PAYDAY + 1, 1.0))
    return tuple(found)


def payday_between(after: int, at: int, country: str | None) -> bool:
    """Whether the morning of a likely payday came after `after`, and at most two days before `at` (unix seconds)."""
    return _payday_mornings(at // HOUR, country, max(after, at - int(FRESH.total_seconds())) // HOUR)


@cache
def _payday_morning(day: int, country: str | None) -> int | None:
    """The hour (since the epoch) of a payday's morning on this UTC day; None when the day is not a payday."""
    date = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date()
    if not is_payday(date, country=country):
        return None
    morning = datetime(date.year, date.month, date.day, MORNING_HOUR, tzinfo=zone_of(country))
    return int(morning.timestamp()) // HOUR


@lru_cache(maxsize=65_536)
def _payday_mornings(at_hour: int, country: str | None, after_hour: int) -> bool:
    for day in range(after_hour // 24 - 1, at_hour // 24 + 2):
        morning = _payday_morning(day, country)
        if morning is not None and after_hour < morning <= at_hour:
            return True
    return False


@dataclass(slots=True)
class Seen:
    """Counts from history, which can be added up and weighted.

    `yes`, `no`: attempts that succeeded or failed, by cell. `paid`, `watched`: customers who paid by themselves, and
    days in which they could have, by cause and span. `backups`: first tries of another payment method on file, those
    that failed and those that succeeded.
    """

    yes: Counter[Cell] = field(default_factory=Counter)
    no: Counter[Cell] = field(default_factory=Counter)
    paid: Counter[tuple[DeclineCause, int]] = field(default_factory=Counter)
    watched: dict[tuple[DeclineCause, int], float] = field(default_factory=dict)
    backups: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, other: "Seen", times: int = 1) -> None:
        """Add the counts of another one, so many times."""
        for mine, theirs in ((self.yes, other.yes), (self.no, other.no)):
            for cell, count in theirs.items():
                mine[cell] += count * times
        for span, count in other.paid.items():
            self.paid[span] += count * times
        for key, days in other.watched.items():
            self.watched[key] = self.watched.get(key, 0.0) + days * times
        for worked, count in enumerate(other.backups):
            self.backups[worked] += count * times

    def watch(self, cause: DeclineCause, hours: float, *, paid: bool) -> None:
        """Count a customer who could have paid for so many hours from the failure on; `paid`: and did at their end."""
        lower = 0
        last = 0
        for index, upper in enumerate(SPANS):
            if hours <= lower and index:
                break
            key = (cause, index)
            self.watched[key] = self.watched.get(key, 0.0) + max(0.0, min(hours, upper) - lower) / 24
            lower, last = upper, index
        if paid:
            self.paid[cause, last] += 1


@dataclass(frozen=True, slots=True)
class Model:
    """The rates by cause: of events at the bank, and of customers paying by themselves; each by day and span.

    `backup`: the chance that another payment method on file works at its first try.
    """

    bank: Rates
    customer: Rates
    backup: float

    def chance(self, cause: DeclineCause, seen: Exposure) -> float:
        """The chance that an attempt with this exposure succeeds."""
        return -expm1(-self.events(cause, seen))

    def events(self, cause: DeclineCause, seen: Exposure) -> float:
        """The expected number of events."""
        rates = self.bank[cause]
        return sum(rates[index] * much for index, much in seen)

    def nobody_paid(self, cause: DeclineCause, from_hours: float, to_hours: float) -> float:
        """The chance that a customer does not pay between two times after the failure."""
        total, lower = 0.0, 0.0
        for rate, upper in zip(self.customer[cause], SPANS, strict=True):
            total += rate * max(0.0, min(to_hours, upper) - max(from_hours, lower))
            lower = upper
        return exp(-total / 24)


def fit(
    seen: Seen,
    start: Model | None = None,
    prior_factor: Mapping[int, float] | None = None,
    backup: float | None = None,
) -> Model:
    """The most likely model, given the history and the prior; `start` is where the search begins.

    `prior_factor` multiplies the prior's rates, by their index: the prior is a guess, and a bootstrap varies it in each
    draw. `backup` is such a draw of the chance of that name; None: its mean.
    """
    cells = _by_cause(seen)
    everything: dict[Exposure, tuple[float, float]] = {}
    for of_cause in cells.values():
        for vector, (yes, no) in of_cause.items():
            before = everything.get(vector, (0.0, 0.0))
            everything[vector] = before[0] + yes, before[1] + no
    factors = [(prior_factor or {}).get(index, 1.0) for index in range(RATES)]
    pooled = _rates(everything, FIRST_RATES, FIRST_RATES, factors)
    prior = [rate * factor for rate, factor in zip(pooled, factors, strict=True)]
    bank = {
        cause: _rates(cells.get(cause, {}), prior, start.bank[cause] if start else prior, factors)
        for cause in DeclineCause
    }
    failed, worked = (count + prior for count, prior in zip(seen.backups, BACKUP_PRIOR, strict=True))
    return Model(bank, _customers(seen), worked / (failed + worked) if backup is None else backup)


def _by_cause(seen: Seen) -> dict[DeclineCause, dict[Exposure, tuple[float, float]]]:
    found: dict[DeclineCause, dict[Exposure, tuple[float, float]]] = {}
    for counts, went_through in ((seen.yes, True), (seen.no, False)):
        for (cause, from_, to, payday), count in counts.items():
            of_cause = found.setdefault(cause, {})
            vector = exposure(from_, to, payday)
            yes, no = of_cause.get(vector, (0.0, 0.0))
            of_cause[vector] = (yes + count, no) if went_through else (yes, no + count)
    return found


def _rates(
    cells: Mapping[Exposure, tuple[float, float]],
    prior: Sequence[float],
    start: Sequence[float],
    factors: Sequence[float],
) -> tuple[float, ...]:
    """Expectation and maximization, until no rate changes by more than a thousandth of itself."""
    seen = [0.0] * RATES
    for vector, (yes, no) in cells.items():
        for index, much in vector:
            seen[index] += much * (yes + no)
    watched = [days + PRIOR_EVENTS / rate for days, rate in zip(seen, prior, strict=True)]
    through = [(vector, yes) for vector, (yes, _) in cells.items() if yes]
    rates = list(start)
    for _ in range(MOST_ROUNDS):
        events = [PRIOR_EVENTS] * RATES
        for vector, yes in through:
            expected = sum(rates[index] * much for index, much in vector)
            # At least one event came: each span has its share of a Poisson count that is not 0.
            for_each = yes / -expm1(-expected)
            for index, much in vector:
                events[index] += for_each * rates[index] * much
        after = [count / days for count, days in zip(events, watched, strict=True)]
        settled = all(abs(new - old) <= CLOSE_ENOUGH * old for new, old in zip(after, rates, strict=True))
        rates = after
        if settled:
            break
    if cells:
        for index in range(1, len(SPANS)):
            if seen[index] < UNSEEN_DAYS:
                rates[index] = rates[index - 1] * FADES * factors[index]
    return tuple(rates)


def _customers(seen: Seen) -> Rates:
    """Customers' rates by cause, on the rate of all causes as the prior."""
    pooled = []
    for index in range(len(SPANS)):
        paid = sum(seen.paid.get((cause, index), 0) for cause in DeclineCause)
        days = sum(seen.watched.get((cause, index), 0.0) for cause in DeclineCause)
        pooled.append((paid + PRIOR_EVENTS) / (days + PRIOR_EVENTS / FIRST_CUSTOMER_RATE))
    return {
        cause: tuple(
            (seen.paid.get((cause, index), 0) + PRIOR_EVENTS)
            / (seen.watched.get((cause, index), 0.0) + PRIOR_EVENTS / rate)
            for index, rate in enumerate(pooled)
        )
        for cause in DeclineCause
    }
