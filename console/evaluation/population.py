"""A synthetic population of failed renewals: what each one's bank and customer would do, drawn from a seed.

`console/evaluation/README.md` describes the model, its sources and assumptions. A failure's whole fate is drawn before
any strategy sees it, so that all strategies get the same customers, and differences are due to the strategies only.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from math import exp, log
from random import Random
from typing import Final, TypeVar

from console.evaluation.calendars import LimitWindow, Rhythm, last_before, limit_ends, paydays
from services.worker.recovery import Card, Decline, DeclineCause
from shared.money import Money

K = TypeVar("K")

FIRST_DAY: Final = date(2026, 1, 5)
DAYS: Final = 28
# Each day's renewals are collected in one run, at an hour of its own. Failures of one kind in a run share their plan,
# which makes a simulation fast.
RUN_HOURS: Final = 7
SPREADS: Final = 2
HORIZON_DAYS: Final = 75
HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
NEVER: Final = float("inf")

_COUNTRIES: Final = {
    "US": ("usd", 0.60),
    "GB": ("gbp", 0.15),
    "DE": ("eur", 0.15),
    "BR": ("brl", 0.05),
    "JP": ("jpy", 0.05),
}
_NETWORKS: Final = {"visa": 0.55, "mastercard": 0.37, "amex": 0.08}
_AMOUNTS: Final = {900: 0.2, 1900: 0.3, 2900: 0.25, 4900: 0.15, 9900: 0.08, 29900: 0.02}

# How often private businesses pay wages. US: Bureau of Labor Statistics, figures of March 2013,
# https://www.bls.gov/opub/btn/volume-3/how-frequently-do-private-businesses-pay-workers.htm
# Elsewhere monthly pay is usual; those shares are assumed.
_RHYTHMS_US: Final = {
    Rhythm.WEEKLY: 0.324,
    Rhythm.BIWEEKLY: 0.365,
    Rhythm.SEMIMONTHLY: 0.198,
    Rhythm.MONTHLY: 0.113,
}
_RHYTHMS_ELSEWHERE: Final = {Rhythm.WEEKLY: 0.06, Rhythm.BIWEEKLY: 0.04, Rhythm.SEMIMONTHLY: 0.05, Rhythm.MONTHLY: 0.85}
_WINDOWS: Final = {LimitWindow.DAY: 0.45, LimitWindow.WEEK: 0.25, LimitWindow.MONTH: 0.30}


@dataclass(frozen=True, slots=True)
class CauseModel:
    """How failures with one decline code develop.

    `share` of all failures; `clears`: the share whose bank says yes some day without an action of the customer, and
    `median_hours`, `spread` (of a lognormal) until then, where neither wages nor limits decide; `approves`: the chance
    that the bank accepts an attempt then. `responds`: the share of customers who pay after the first message.
    """

    cause: DeclineCause
    share: float
    clears: float
    approves: float
    responds: float
    median_hours: float = 0.0
    spread: float = 1.0


_C: Final = DeclineCause
MODEL: Final[Mapping[str, CauseModel]] = {
    "insufficient_funds": CauseModel(_C.INSUFFICIENT_FUNDS, 0.44, 0.80, 0.95, 0.10),
    "generic_decline": CauseModel(_C.DO_NOT_HONOR, 0.11, 0.42, 0.85, 0.14, 60, 1.2),
    "do_not_honor": CauseModel(_C.DO_NOT_HONOR, 0.09, 0.38, 0.85, 0.14, 72, 1.2),
    "try_again_later": CauseModel(_C.TRY_LATER, 0.05, 0.92, 0.95, 0.08, 5, 1.3),
    "processing_error": CauseModel(_C.TRY_LATER, 0.03, 0.92, 0.95, 0.08, 2, 1.3),
    "card_velocity_exceeded": CauseModel(_C.LIMIT_EXCEEDED, 0.03, 0.85, 0.90, 0.10),
    "withdrawal_count_limit_exceeded": CauseModel(_C.LIMIT_EXCEEDED, 0.01, 0.85, 0.90, 0.10),
    # Cleared by the networks' updater services: Stripe gets the new card and sends an event.
    "expired_card": CauseModel(_C.EXPIRED_CARD, 0.09, 0.25, 0.95, 0.22, 120, 0.8),
    "restricted_card": CauseModel(_C.NOT_ALLOWED, 0.03, 0.15, 0.85, 0.16, 96, 1.0),
    "lost_card": CauseModel(_C.LOST_OR_STOLEN, 0.04, 0.0, 0.0, 0.22),
    "stolen_card": CauseModel(_C.LOST_OR_STOLEN, 0.02, 0.0, 0.0, 0.22),
    "authentication_required": CauseModel(_C.AUTHENTICATION_REQUIRED, 0.05, 0.0, 0.0, 0.30),
    "fraudulent": CauseModel(_C.FRAUD_SUSPECTED, 0.01, 0.0, 0.0, 0.10),
}

# Wages last for some days; sometimes money arrives on another day.
FUNDS_LAST_DAYS: Final = 6.0
# Each further message moves fewer of those who have not answered yet, and an answer takes time.
RESPONSE_FADES: Final = 0.6
RESPONSE_MEDIAN_HOURS, RESPONSE_SPREAD = 9.0, 1.3
MESSAGES_ANSWERABLE: Final = 8
# The share of customers who notice by themselves within the horizon (lost access, a bank statement).
ALONE_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Kind:
    """What a strategy knows of a failure; failures of one kind get the same plan."""

    code: str
    opened_at: float
    country: str
    network: str
    spread: int

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
        return Card("fp", self.network, self.country)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed renewal and its fate. `draws` decide single attempts; `answers` are the seconds after which each message
    would be answered, or NEVER; `alone_at` is when the customer pays without a message."""

    kind: Kind
    amount: Money
    fate: "Fate"
    draws: tuple[float, ...]
    answers: tuple[float, ...]
    alone_at: float

    def approves(self, at: float, number: int) -> bool:
        """Whether the bank accepts the `number`-th attempt (from 0), made at `at`."""
        return self.draws[number % len(self.draws)] < self.fate.chance(at)


@dataclass(frozen=True, slots=True)
class Fate:
    """When the bank would accept an attempt: within `spans` (from, to), with the chance `approves`.

    `updated_at` is when Stripe gets a renewed card from the network; a strategy that hears of it may try at once.
    """

    spans: tuple[tuple[float, float], ...]
    approves: float
    updated_at: float = NEVER

    def chance(self, at: float) -> float:
        """The chance that a charge at `at` succeeds."""
        for begins, ends in self.spans:
            if begins <= at < ends:
                return self.approves
        return 0.0


class Population:
    """Draws failures, always the same ones for a seed. Iteration never ends.

    They fail on the `days` from `first_day` on, in no order.
    """

    def __init__(self, seed: int | str, first_day: date = FIRST_DAY, days: int = DAYS) -> None:
        self._random = Random(seed)  # noqa: S311 - a simulation has to be repeatable
        self._codes = _table({code: model.share for code, model in MODEL.items()})
        self._countries = _table({country: share for country, (_, share) in _COUNTRIES.items()})
        self._networks, self._amounts = _table(_NETWORKS), _table(_AMOUNTS)
        self._rhythms_us, self._rhythms = _table(_RHYTHMS_US), _table(_RHYTHMS_ELSEWHERE)
        self._windows = _table(_WINDOWS)
        self._first_day, self._days = first_day, days
        self._start = datetime.combine(first_day, datetime.min.time(), UTC).timestamp()

    def __iter__(self) -> Iterator[Failure]:
        return self

    def __next__(self) -> Failure:
        draw = self._random.random
        code, country = self._codes(draw()), self._countries(draw())
        run = int(draw() * self._days)
        opened_at = self._start + run * DAY + run * RUN_HOURS % 24 * HOUR
        kind = Kind(code, opened_at, country, self._networks(draw()), int(draw() * SPREADS))
        model = MODEL[code]
        return Failure(
            kind=kind,
            amount=Money(self._amounts(draw()), _COUNTRIES[country][0]),
            fate=self._fate(kind, model),
            draws=tuple(draw() for _ in range(12)),
            answers=self._answers(model),
            alone_at=kind.opened_at + draw() * HORIZON_DAYS * DAY if draw() < ALONE_SHARE else NEVER,
        )

    def _fate(self, kind: Kind, model: CauseModel) -> Fate:
        draw = self._random.random
        if draw() >= model.clears:
            return Fate((), 0.0)
        if model.cause is DeclineCause.INSUFFICIENT_FUNDS:
            return Fate(self._funded(kind), model.approves)
        if model.cause is DeclineCause.LIMIT_EXCEEDED:
            return Fate(((limit_ends(self._windows(draw()), kind.country, kind.opened_at), NEVER),), model.approves)
        hours = exp(log(model.median_hours) + model.spread * self._random.gauss())
        clears_at = kind.opened_at + hours * HOUR
        updated_at = clears_at if model.cause is DeclineCause.EXPIRED_CARD else NEVER
        return Fate(((clears_at, NEVER),), model.approves, updated_at)

    def _funded(self, kind: Kind) -> tuple[tuple[float, float], ...]:
        """The spans with enough money on the account: from each payday on, for some days."""
        draw = self._random.random
        rhythm = (self._rhythms_us if kind.country == "US" else self._rhythms)(draw())
        days = paydays(rhythm, kind.country, self._first_day - timedelta(days=40), 40 + self._days + HORIZON_DAYS)
        first = last_before(days, kind.opened_at) + 1  # earlier wages were spent, or it would not have failed
        ends = kind.opened_at + HORIZON_DAYS * DAY
        return tuple(
            (begins, begins - FUNDS_LAST_DAYS * DAY * log(1 - draw())) for begins in days[first:] if begins < ends
        )

    def _answers(self, model: CauseModel) -> tuple[float, ...]:
        draw, likely, answers = self._random.random, model.responds, []
        for _ in range(MESSAGES_ANSWERABLE):
            answered = draw() < likely
            hours = exp(log(RESPONSE_MEDIAN_HOURS) + RESPONSE_SPREAD * self._random.gauss()) if answered else NEVER
            answers.append(hours * HOUR)
            likely *= RESPONSE_FADES
        return tuple(answers)


def _table(shares: Mapping[K, float]) -> Callable[[float], K]:
    """A function that turns an even draw from [0, 1) into one of the keys, with probabilities by share."""
    keys = list(shares)
    bounds = list(accumulate(shares.values()))
    whole = bounds[-1]
    return lambda draw: keys[bisect_right(bounds, draw * whole)]
