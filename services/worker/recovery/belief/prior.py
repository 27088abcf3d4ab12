"""What is believed before anything was seen: how a declined payment becomes possible, by cause and country.

It is wide on purpose: a merchant's customers may be paid on any day, and a bank may decline at any hour. What is known
of a country's paydays weighs more, and never alone. Sources are named; everything else is assumed.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import exp, log
from typing import Final

from services.worker.recovery.belief.parts import BANKS, DELAYS, STAYS, Belief, kind_of
from shared.policy import WEEKDAYS, DeclineCause
from shared.policy.paydays import PAYDAYS


@dataclass(frozen=True, slots=True)
class Prior:
    """The shares of the ways after one cause, which add up to 1 with `never`.

    delays: (share, from, to): possible for good after so many hours, evenly on a logarithmic scale. resets: at the end
    of the day, the week, the month.
    """

    never: float
    wages: float = 0.0
    delays: tuple[tuple[float, float, float], ...] = ()
    resets: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def shares(self) -> tuple[float, ...]:
        """By `parts.WAYS`."""
        delays = [
            sum(share * _within(begins, ends, least, most) for share, least, most in self.delays)
            for begins, ends in DELAYS
        ]
        return (self.never, self.wages, *delays, *self.resets)


_C: Final = DeclineCause
PRIORS: Final[Mapping[DeclineCause, Prior]] = {
    # Some have money again at a time that no calendar knows.
    _C.INSUFFICIENT_FUNDS: Prior(0.22, wages=0.70, delays=((0.06, 4, 400),), resets=(0, 0, 0.02)),
    _C.LIMIT_EXCEEDED: Prior(0.16, resets=(0.36, 0.18, 0.22), delays=((0.08, 1, 300),)),
    _C.TRY_LATER: Prior(0.10, delays=((0.70, 0.3, 30), (0.20, 20, 250))),
    # Banks that do not say that the account is empty say this.
    _C.DO_NOT_HONOR: Prior(0.50, wages=0.12, delays=((0.38, 4, 500),)),
    _C.UNKNOWN: Prior(0.50, wages=0.12, delays=((0.38, 4, 500),)),
    _C.NOT_ALLOWED: Prior(0.82, delays=((0.18, 12, 500),)),
    _C.EXPIRED_CARD: Prior(0.76, delays=((0.24, 24, 500),)),
}
ON_CREDIT: Final = Prior(0.22, wages=0.55, delays=((0.05, 4, 400),), resets=(0, 0, 0.18))
"""Missing funds on a credit card: what is missing may be the month's limit. Assumed."""

# --- Wages ------------------------------------------------------------------------------------------------------------

# Any day, any week: what holds where nothing is known of a country, or what is known is wrong for this merchant.
_ANY_DAY, _ANY_WEEK, _ANY_OTHER_WEEK, _ANY_PAIR = 0.36, 0.05, 0.05, 0.04

# How often private businesses pay wages in the US (Bureau of Labor Statistics, March 2013): weekly 32.4 %, every other
# week 36.5 %, twice a month 19.8 %, monthly 11.3 %. On which days is assumed.
# https://www.bls.gov/opub/btn/volume-3/how-frequently-do-private-businesses-pay-workers.htm
_US: Final = {
    "weekly_friday": 0.244,
    "weekly_thursday": 0.04,
    "weekly_wednesday": 0.04,
    "biweekly_friday_0": 0.183,
    "biweekly_friday_1": 0.182,
    "days_1_15": 0.099,
    "days_15_31": 0.099,
    "last_business_day": 0.053,
    "day_1": 0.03,
    "day_3": 0.03,
}
# Wages that come once a month, at the end of it as a rule: assumed.
_MONTHLY: Final = {
    "last_business_day": 0.42,
    "day_25": 0.14,
    "day_28": 0.08,
    "day_1": 0.08,
    "day_15": 0.07,
    "last_friday": 0.07,
    "business_day_5": 0.05,
    "weekly_friday": 0.05,
    "day_20": 0.04,
}
KNOWN: Final[Mapping[str, Mapping[str, float]]] = {
    "US": _US,
    "CA": _US,  # assumed to be like its neighbour
}
"""By country, ISO 3166 alpha-2: the shares of those whose payday is what the country is known for."""
ELSEWHERE: Final = _MONTHLY

# Paid on the business day before, on the day itself, on the one after: assumed.
CONVENTION_SHARES: Final = (0.6, 0.2, 0.2)

# How long the money stays: the means of exponential durations, in days, believed alike.
STAYS_DAYS: Final = (0.7, 1.2, 2.5, 5.0, 10.0)

# --- Banks ------------------------------------------------------------------------------------------------------------

# The share of banks that decline in some hours, of unknown place and length.
DECLINE_BY_HOUR: Final = 0.4
DECLINE_AT_WEEKENDS: Final = 0.04


@lru_cache(maxsize=256)
def prior(country: str | None) -> Belief:
    """What is believed of a country's customers before anything was seen."""
    kinds = {kind_of(cause, credit=False): each.shares for cause, each in PRIORS.items()}
    kinds[kind_of(DeclineCause.INSUFFICIENT_FUNDS, credit=True)] = ON_CREDIT.shares
    return Belief(kinds, payday_shares(country), CONVENTION_SHARES, _stays(), _banks())


def prior_among(countries: Mapping[str | None, int]) -> Belief:
    """What is believed, before anything was seen, of customers of whom so many are from each country."""
    total, of_any = sum(countries.values()), prior(None)
    if not total:
        return of_any
    paydays: defaultdict[str, float] = defaultdict(float)
    for country, count in countries.items():
        for payday, share in prior(country).paydays.items():
            paydays[payday] += share * count / total
    return replace(of_any, paydays=dict(paydays))


def payday_shares(country: str | None) -> dict[str, float]:
    """The share of each payday among a country's customers who wait for wages; they add up to 1."""
    shares = dict.fromkeys(PAYDAYS, 0.0)
    for number in range(1, 32):
        shares[f"day_{number}"] = _ANY_DAY / 31
    for day in WEEKDAYS:
        shares[f"weekly_{day}"] = _ANY_WEEK / 7
    for day in WEEKDAYS[:5]:
        for week in (0, 1):
            shares[f"biweekly_{day}_{week}"] = _ANY_OTHER_WEEK / 10
    for pair in ("days_1_15", "days_5_20", "days_10_25", "days_15_31"):
        shares[pair] = _ANY_PAIR / 4
    known = KNOWN.get((country or "").upper(), ELSEWHERE)
    rest = (1 - sum(shares.values())) / sum(known.values())
    for name, share in known.items():
        shares[name] += rest * share
    return {name: share for name, share in shares.items() if share}


def _within(begins: float, ends: float, least: float, most: float) -> float:
    """The share of what is evenly between `least` and `most`, on a logarithmic scale, that is between the others."""
    return max(0.0, log(min(ends, most)) - log(max(begins, least))) / (log(most) - log(least))


def _stays() -> tuple[float, ...]:
    def longer(hours: float) -> float:
        return sum(exp(-hours / (24 * mean)) for mean in STAYS_DAYS) / len(STAYS_DAYS)

    shares = [longer(begins) - longer(ends) for begins, ends in STAYS]
    return tuple(share / sum(shares) for share in shares)


def _banks() -> tuple[float, ...]:
    by_hours = DECLINE_BY_HOUR / (len(BANKS) - 2)
    return (1 - DECLINE_BY_HOUR - DECLINE_AT_WEEKENDS, DECLINE_AT_WEEKENDS, *[by_hours] * (len(BANKS) - 2))
