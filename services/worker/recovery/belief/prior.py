"""What is believed before anything was seen: how a declined payment becomes possible, by cause and country.

It is wide on purpose: a merchant's customers may be paid on any day, and a bank may decline at any hour. What is known
of a country's paydays weighs more, and never alone. Sources are named; everything else is assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.policy import DeclineCause


@dataclass(frozen=True, slots=True)
class Prior:
    """The shares of the stories after one cause, which add up to 1 with `never`.

    wages: the money comes with the customer's wages and goes again. delays: (share, from, to): possible for good after
    so many hours, evenly on a logarithmic scale. resets: at the end of the day, the week, the month.
    """

    never: float
    wages: float = 0.0
    delays: tuple[tuple[float, float, float], ...] = ()
    resets: Mapping[str, float] | None = None


_C: Final = DeclineCause
PRIORS: Final[Mapping[DeclineCause, Prior]] = {
    # Some have money again at a time that no calendar knows.
    _C.INSUFFICIENT_FUNDS: Prior(never=0.22, wages=0.70, delays=((0.08, 4, 400),)),
    _C.LIMIT_EXCEEDED: Prior(never=0.16, resets={"day": 0.36, "week": 0.18, "month": 0.22}, delays=((0.08, 1, 300),)),
    _C.TRY_LATER: Prior(never=0.10, delays=((0.70, 0.3, 30), (0.20, 20, 250))),
    # Banks that do not say that the account is empty say this.
    _C.DO_NOT_HONOR: Prior(never=0.50, wages=0.12, delays=((0.38, 4, 500),)),
    _C.UNKNOWN: Prior(never=0.50, wages=0.12, delays=((0.38, 4, 500),)),
    _C.NOT_ALLOWED: Prior(never=0.82, delays=((0.18, 12, 500),)),
    _C.EXPIRED_CARD: Prior(never=0.76, delays=((0.24, 24, 500),)),
}

APPROVED: Final = 0.92
"""How often a bank accepts an attempt at a time at which it would, by the story."""

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

# How long the money stays: the means of exponential durations, in days, believed alike.
STAYS_DAYS: Final = (0.7, 1.5, 3.0, 6.0, 12.0)

# --- Banks ------------------------------------------------------------------------------------------------------------

# The share of banks that decline in some hours, of unknown place and length.
DECLINE_BY_HOUR: Final = 0.35
HOURS_CLOSED: Final = (5, 14)
DECLINE_AT_WEEKENDS: Final = 0.04


def payday_shares(country: str | None, known_here: Mapping[str, float]) -> dict[str, float]:
    """The share of each payday rule (`paydays.RULES`) among customers of a country; they add up to 1.

    `known_here` are the shares that the merchant knows; the rest is of the country.
    """
    shares = {f"day_{n}": _ANY_DAY / 31 for n in range(1, 32)}
    weekdays = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    for day in weekdays:
        shares[f"weekly_{day}"] = _ANY_WEEK / 7
    for day in weekdays[:5]:
        for week in (0, 1):
            shares[f"biweekly_{day}_{week}"] = _ANY_OTHER_WEEK / 10
    for pair in ("days_1_15", "days_5_20", "days_10_25", "days_15_31"):
        shares[pair] = _ANY_PAIR / 4
    known = KNOWN.get((country or "").upper(), ELSEWHERE)
    rest = (1 - sum(shares.values())) / sum(known.values())
    for name, share in known.items():
        shares[name] = shares.get(name, 0.0) + rest * share
    left = max(0.0, 1 - sum(known_here.values()))
    return {name: left * shares.get(name, 0.0) + known_here.get(name, 0.0) for name in {**shares, **known_here}}
