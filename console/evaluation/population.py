"""A synthetic population of failed renewals: what each one's bank and customer would do, drawn from a world and a seed.

`console/evaluation/README.md` describes the worlds, their sources and assumptions. A failure's whole fate is drawn
before any strategy sees it, so that all strategies get the same customers, and differences are due to the strategies
only. Times are seconds since the epoch.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import accumulate
from math import exp, log
from random import Random
from typing import Final, TypeVar, assert_never
from zoneinfo import ZoneInfo

from console.evaluation.worlds.banks import HOUR, Bank, Rest
from console.evaluation.worlds.calendars import (
    DAYS,
    FIRST_DAY,
    QUARTER,
    last_before,
    limit_ends,
    local_hour,
    paydays,
    run_days_of,
)
from console.evaluation.worlds.document import (
    ByDelay,
    ByLimit,
    ByOutage,
    ByRest,
    ByUpdater,
    ByWages,
    Code,
    Way,
    World,
)
from console.evaluation.worlds.funds import DAY, spans
from console.evaluation.worlds.wages import Irregular, WageGroup
from services.worker.recovery import Card, Decline, DeclineCause, classify
from services.worker.recovery.timezones import zone_of
from shared.money import Money

__all__ = ["DAY", "DAYS", "FIRST_DAY", "HORIZON_DAYS", "NEVER", "Failure", "Fate", "Kind", "Population", "cause_of"]

K = TypeVar("K")
_Paid = tuple[WageGroup, tuple[float, ...]]

# Failures of one kind in a run share their plan, which makes a simulation fast. Their attempts are spread over a
# morning by this many keys.
SPREADS: Final = 2
HORIZON_DAYS: Final = 75
NEVER: Final = float("inf")
MESSAGES_ANSWERABLE: Final = 8
ATTEMPTS_DRAWN: Final = 12
_EARLIER_DAYS: Final = 40


@cache
def cause_of(code: str) -> DeclineCause:
    """The cause of a decline with this of Stripe's codes."""
    return classify(Decline("card_declined", code)).cause


@dataclass(frozen=True, slots=True)
class Kind:
    """What a strategy may know of a failure when it happens; failures of one kind get the same plan.

    `funding` as in `card.funding`, `currency` and `amount` (minor units) as in the invoice; None where nobody says.
    Most strategies plan by the other five alone: then failures that differ in these three share a plan, too.
    """

    code: str
    opened_at: float
    country: str
    network: str
    spread: int
    funding: str | None = None
    currency: str | None = None
    amount: int | None = None

    @property
    def decline(self) -> Decline:
        """The bank's decline."""
        return Decline("card_declined", self.code)

    @property
    def opened(self) -> datetime:
        """When the renewal failed."""
        return datetime.fromtimestamp(self.opened_at, UTC)

    @property
    def card(self) -> Card:
        """The card that was declined."""
        return Card("fp", self.network, self.country, funding=self.funding)


@dataclass(frozen=True, slots=True)
class Attention:
    """How likely a customer is to answer, by the hour in which a message is sent.

    `least`: for each message, the factor from which on it is answered. `factors`: by the local hour.
    """

    least: tuple[float, ...]
    factors: tuple[float, ...]
    zone: ZoneInfo

    def answers(self, number: int, sent_at: float) -> bool:
        """Whether the `number`-th message (from 0) is answered at all."""
        _, hour = local_hour(self.zone, int(sent_at // QUARTER))
        return self.least[number] < self.factors[hour]


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed renewal and its fate. `draws` decide single attempts; `answers` are the seconds after which each message
    would be answered, or NEVER; `attention`: by the hour of the message, too; `alone_at` is when the customer pays
    without a message. `earlier`: the same customer's failures before, in the order of time (`again.py`)."""

    kind: Kind
    amount: Money
    fate: "Fate"
    draws: tuple[float, ...]
    answers: tuple[float, ...]
    alone_at: float
    attention: Attention | None = None
    earlier: tuple["Failure", ...] = ()

    def approves(self, at: float, number: int, tried: Sequence[float] = ()) -> bool:
        """Whether the bank accepts the `number`-th attempt (from 0), made at `at`.

        `tried`: when it was charged before, the failed renewal first. Only a bank that wants rest asks for it.
        """
        fate, draw = self.fate, self.draws[number % len(self.draws)]
        if draw >= fate.chance(at):
            return False
        return fate.rest is None or at >= fate.rest.over_at(tried)

    def answered_at(self, number: int, sent_at: float) -> float:
        """When the customer pays after the `number`-th message (from 0), sent at `sent_at`; NEVER if not because of
        it."""
        if self.attention is not None and not self.attention.answers(number, sent_at):
            return NEVER
        return sent_at + self.answers[number]


@dataclass(frozen=True, slots=True)
class Fate:
    """When the bank would accept an attempt: within `spans` (from, to), with the chance `approves`.

    `updated_at` is when Stripe gets a renewed card from the network; a strategy that hears of it may try at once.
    `bank` declines in some hours, whatever the cause; `rest` says how far attempts have to be apart.
    """

    spans: tuple[tuple[float, float], ...]
    approves: float
    updated_at: float = NEVER
    bank: Bank | None = None
    rest: Rest | None = None

    def chance(self, at: float) -> float:
        """The chance that a charge at `at` succeeds, if it was left alone for long enough."""
        for begins, ends in self.spans:
            if begins <= at < ends:
                return self.approves if self.bank is None else self.approves * self.bank.lets_through(at)
        return 0.0


@dataclass(slots=True)
class Customer:
    """What stays the same for a customer, as far as it is drawn: the number of the wage group in the set that fits the
    card, and the bank (a tuple of one, which is None for one that declines for no reason of its own)."""

    group: int | None = None
    bank: tuple[Bank | None, ...] = ()


class Population:
    """Draws failures of a world, always the same ones for a seed. Iteration never ends.

    They fail on the `days` from `first_day` on, in no order. Raises ValueError when the world has no run on these days.
    """

    def __init__(self, world: World, seed: int | str, first_day: date = FIRST_DAY, days: int = DAYS) -> None:
        self._world, self._seed = world, seed
        self._random = Random(seed)  # noqa: S311 - a simulation has to be repeatable
        # A second sequence for what `as_made` has not: its customers stay who they are.
        self._more = Random(f"{seed}/more")  # noqa: S311 - a simulation has to be repeatable
        renewals = world.renewals
        self._codes = _table((each, each.share) for each in world.causes.codes)
        self._currency = {each.code: each.currency for each in renewals.countries}
        self._countries = _table((each.code, each.share) for each in renewals.countries)
        self._networks = _table((each.name, each.share) for each in renewals.networks)
        self._funding = _table((each.name, each.share) for each in renewals.funding)
        self._amounts = _table((each.minor_units, each.share) for each in renewals.amounts)
        self._first_day, self._days = first_day, days
        self._runs = run_days_of(renewals.run_days, first_day, days)
        if not self._runs:
            raise ValueError(f"{world.name} has no run of renewals in the {days} days from {first_day} on")
        self._start = datetime.combine(first_day, datetime.min.time(), UTC).timestamp()
        self._wages: dict[tuple[str, str], tuple[Sequence[_Paid], Callable[[float], int]]] = {}
        self._ways: dict[tuple[str, str], tuple[int, Callable[[float], Way]]] = {}
        self._closed: dict[tuple[int, str], Bank] = {}
        self._factors = _factors(world)

    def __iter__(self) -> Iterator[Failure]:
        return self

    def __next__(self) -> Failure:
        return self.failure(*self._drawn(), Customer())

    def _drawn(self) -> tuple[Kind, Code]:
        """What is known of the next failure when it happens, and why it fails."""
        draw, hours = self._random.random, self._world.renewals.run_hours
        model, country = self._codes(draw()), self._countries(draw())
        run = self._runs[int(draw() * len(self._runs))]
        opened_at = self._start + run * DAY + hours[run % len(hours)] * HOUR
        network, spread, amount = self._networks(draw()), int(draw() * SPREADS), self._amounts(draw())
        currency, funding = self._currency[country], self._funding(self._more.random())
        return Kind(model.code, opened_at, country, network, spread, funding, currency, amount), model

    def failure(self, kind: Kind, model: Code, customer: Customer) -> Failure:
        """A failure of a kind, with the fate that is drawn for it; what the customer has not yet is drawn as well."""
        draw, opened_at = self._random.random, kind.opened_at
        fate = self._fate(kind, model, customer)
        draws = tuple([draw() for _ in range(ATTEMPTS_DRAWN)])
        answers, attention = self._answers(model, kind.country)
        alone_at = opened_at + draw() * HORIZON_DAYS * DAY if draw() < self._world.alone.share else NEVER
        amount = Money(kind.amount or 0, kind.currency or "")
        return Failure(kind, amount, fate, draws, answers, alone_at, attention)

    # -- how the failure clears ---------------------------------------------------------------------------------------

    def _fate(self, kind: Kind, model: Code, customer: Customer) -> Fate:
        if self._random.random() >= model.clears:
            return Fate((), 0.0)
        way = self._way(model, kind)
        bank = self._bank(kind, customer)
        begins, updated_at, rest = kind.opened_at, NEVER, None
        match way:
            case ByWages():
                return Fate(self._funded(kind, customer), model.approves, bank=bank)
            case ByLimit():
                begins = limit_ends(way.every, kind.country, kind.opened_at)
            case ByDelay():
                begins += self._after(way.median_hours, way.spread, self._random)
            case ByUpdater():
                updated_at = begins = begins + self._after(way.median_hours, way.spread, self._random)
            case ByOutage():
                # The same for all whom it hit: from what they have in common.
                common = Random(f"{self._seed}/{kind.opened_at}/{kind.country}")  # noqa: S311 - a simulation has to be repeatable
                begins += self._after(way.median_hours, way.spread, common)
            case ByRest():
                rest = Rest(way.hours * HOUR, way.most, way.within_days * DAY)
            case _:
                assert_never(way)
        return Fate(((begins, NEVER),), model.approves, updated_at, bank, rest)

    def _way(self, model: Code, kind: Kind) -> Way:
        key = model.code, kind.funding or ""
        if key not in self._ways:
            fitting = [each for each in model.ways if not each.funding or kind.funding in each.funding]
            self._ways[key] = len(fitting), _table((each, each.share) for each in fitting)
        count, table = self._ways[key]
        return table(self._random.random() if count > 1 else 0.0)

    @staticmethod
    def _after(median_hours: float, spread: float, random: Random) -> float:
        return exp(log(median_hours) + spread * random.gauss()) * HOUR

    # -- money --------------------------------------------------------------------------------------------------------

    def _funded(self, kind: Kind, customer: Customer) -> tuple[tuple[float, float], ...]:
        """The spans with enough money on the account: from each payday on, for some days."""
        group, days = self._paid(kind, customer)
        opened_at, ends = kind.opened_at, kind.opened_at + HORIZON_DAYS * DAY
        if isinstance(group.on, Irregular):
            wages: Sequence[float] = list(self._irregular(group.on.every_days, opened_at, ends))
        elif group.noise is None:
            # Earlier wages were spent, or it would not have failed.
            wages = [each for each in days[last_before(days, opened_at) + 1 :] if each < ends]
        else:
            near = days[last_before(days, opened_at - group.noise.days * DAY) + 1 :]
            moved = (each + self._off(group.noise.share, group.noise.days) for each in near)
            wages = sorted(each for each in moved if opened_at < each < ends)
        return tuple(spans(self._world.funds, wages, kind.amount or 0, self._random))

    def _paid(self, kind: Kind, customer: Customer) -> "_Paid":
        """How a customer is paid, and the paydays of the whole time."""
        key = kind.country, kind.funding or ""
        found = self._wages.get(key)
        if found is None:
            groups = next(each.groups for each in self._world.wages.sets if each.fits(*key))
            first = self._first_day - timedelta(days=_EARLIER_DAYS)
            days = _EARLIER_DAYS + self._days + HORIZON_DAYS
            paid: Sequence[_Paid] = [(each, paydays(each, kind.country, first, days, self._late)) for each in groups]
            table = _table((number, each.share) for number, each in enumerate(groups))
            found = self._wages[key] = paid, table
        paid, table = found
        if customer.group is None:
            customer.group = table(self._random.random())
        return paid[customer.group]

    def _late(self, day: date) -> int:
        return self._world.wages.shift_days + self._world.drifted(day).wages_days

    def _off(self, share: float, days: int) -> float:
        """By how many seconds one payday is off: whole days."""
        draw = self._more.random
        if draw() >= share:
            return 0.0
        return (1 if draw() < 0.5 else -1) * (1 + int(draw() * days)) * DAY

    def _irregular(self, every_days: float, at: float, ends: float) -> Iterator[float]:
        while (at := at - every_days * DAY * log(1 - self._more.random())) < ends:
            yield at

    # -- banks --------------------------------------------------------------------------------------------------------

    def _bank(self, kind: Kind, customer: Customer) -> Bank | None:
        """The card's bank; None for one that declines for no reason of its own."""
        if not customer.bank:
            customer.bank = (self._drawn_bank(kind),)
        return customer.bank[0]

    def _drawn_bank(self, kind: Kind) -> Bank | None:
        banks, funding = self._world.banks, kind.funding or ""
        if not banks.groups and not banks.outages:
            return None
        at, chosen = self._more.random(), -1
        for number, each in enumerate(banks.groups):
            if each.fits(kind.country, funding):
                if at < each.share:
                    chosen = number
                    break
                at -= each.share
        hit = []
        for outage in banks.outages:
            if self._more.random() < outage.share and outage.fits(kind.country, funding):
                begins = outage.begins.timestamp()
                hit.append((begins, begins + outage.hours * HOUR))
        if chosen < 0 and not hit:
            return None
        return self._built(chosen, kind.country) if not hit else self._build(chosen, kind.country, tuple(hit))

    def _built(self, number: int, country: str) -> Bank:
        found = self._closed.get((number, country))
        if found is None:
            found = self._closed[number, country] = self._build(number, country, ())
        return found

    def _build(self, number: int, country: str, outages: tuple[tuple[float, float], ...]) -> Bank:
        world = self._world
        closed = world.banks.groups[number].closed if number >= 0 else ()
        late = (lambda day: world.drifted(day).bank_hours) if any(each.bank_hours for each in world.drift) else None
        return Bank(closed, outages, zone_of(country), late)

    # -- customers ----------------------------------------------------------------------------------------------------

    def _answers(self, model: Code, country: str) -> tuple[tuple[float, ...], Attention | None]:
        messages, draw = self._world.messages, self._random.random
        # In the best hour; in another one the customer may not answer.
        likely, best = model.responds, max(self._factors) if self._factors else 1.0
        answers, least = [], []
        for _ in range(MESSAGES_ANSWERABLE):
            drawn = draw()
            answered = drawn < likely * best
            answers.append(self._after(messages.median_hours, messages.spread, self._random) if answered else NEVER)
            least.append(drawn / likely if likely else NEVER)
            likely *= messages.fades
        if not self._factors:
            return tuple(answers), None
        return tuple(answers), Attention(tuple(least), self._factors, zone_of(country))


def _factors(world: World) -> tuple[float, ...]:
    """What answers are more likely by, for each local hour of a message; empty when it does not matter."""
    hours = world.messages.hours
    if not hours:
        return ()
    return tuple(next((each.factor for each in hours if each.holds(hour)), 1.0) for hour in range(24))


def _table(entries: Iterable[tuple[K, float]]) -> Callable[[float], K]:
    """A function that turns an even draw from [0, 1) into one of the entries, with probabilities by their shares."""
    found, shares = zip(*entries, strict=True)
    bounds = list(accumulate(shares))
    whole = bounds[-1]
    return lambda draw: found[bisect_right(bounds, draw * whole)]
