"""Random worlds, from a wide prior: what a merchant's world might be, before anything is known of it.

The README's table says each parameter's range, and why. A strategy is designed with the seeds of `DESIGN`; those of
`HELD_OUT` are for the one measurement at the end, and nobody looks at them before. The same seed is always the same
world.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import exp, log
from random import Random
from typing import Any, Final, TypeVar

import orjson

from console.evaluation.worlds.calendars import FIRST_DAY
from console.evaluation.worlds.describing import described
from console.evaluation.worlds.document import World
from console.evaluation.worlds.validation import as_made, read_world
from shared.policy import WEEKDAYS

K = TypeVar("K")

DESIGN: Final = range(1_000)
"""The generator's seeds by which strategies may be designed and tuned."""
HELD_OUT: Final = range(2_000, 2_200)
"""The generator's seeds that are kept for the final measurement. Those from 1,000 on were played in one before."""

# How likely a country is to be among a merchant's, and its currency. Without India, whose cards allow no retry.
COUNTRIES: Final[Mapping[str, tuple[str, float]]] = {
    "US": ("usd", 4),
    "GB": ("gbp", 2),
    "DE": ("eur", 2),
    "FR": ("eur", 1.5),
    "BR": ("brl", 1),
    "JP": ("jpy", 1),
    "CA": ("cad", 1),
    "AU": ("aud", 1),
    "ES": ("eur", 0.7),
    "IT": ("eur", 0.7),
    "NL": ("eur", 0.7),
    "SE": ("sek", 0.5),
    "DK": ("dkk", 0.5),
    "NO": ("nok", 0.5),
    "MX": ("mxn", 0.5),
}
COMMON_DAYS: Final = (1, 5, 10, 15, 20, 25, 28, 30)
PAIRS_OF_DAYS: Final = ((1, 15), (15, 30), (5, 20), (10, 25))
RHYTHMS: Final[Mapping[str, float]] = {
    "weekly": 2,
    "biweekly": 2,
    "one_day": 4,
    "two_days": 1.5,
    "last_business_day": 2,
    "business_day": 1,
    "last_weekday": 1,
    "nth_weekday": 0.7,
    "irregular": 0.8,
}
WEEKDAY_WEIGHTS: Final = (1.0, 1.0, 1.5, 2.0, 3.0, 0.5, 0.2)
REST_HOURS: Final = (12, 24, 48, 72, 96, 168)
_DELAYED: Final = frozenset({"generic_decline", "do_not_honor", "restricted_card"})
_SOON: Final = frozenset({"try_again_later", "processing_error"})


def random_worlds(first: int, count: int) -> Iterator[World]:
    """The worlds of the generator's seeds from `first` on."""
    return (random_world(seed) for seed in range(first, first + count))


def random_world(seed: int) -> World:
    """The world of one of the generator's seeds."""
    draws = _Draws(seed)
    source = f"assumed: drawn by the generator from seed {seed}"
    document: dict[str, Any] = {
        "name": f"random-{seed}",
        "about": "-",
        "renewals": _renewals(draws, source) | {"again": _again(seed)},
        "causes": {"source": source, "codes": _codes(draws)},
    }
    countries = [each["code"] for each in document["renewals"]["countries"]]
    document |= {
        "wages": {
            "shift_days": draws.random.randint(-3, 9) if draws.sometimes(0.25) else 0,
            "sets": [{"countries": [each], "source": source, "groups": _wages(draws)} for each in countries],
        },
        "funds": _funds(draws, source),
        "banks": {"source": source, "groups": _banks(draws), "outages": _outages(draws)},
        "messages": _messages(draws, source),
        "alone": {"source": source, "share": draws.between(0.01, 0.1)},
        "drift": _drift(draws),
    }
    return read_world(document | {"about": described(read_world(document))})


def written(world: World) -> bytes:
    """A world as a JSON file."""
    return orjson.dumps(world.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


class _Draws:
    """Draws from distributions; every number with few digits, as people write it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(f"world {seed}")  # noqa: S311 - a world has to be repeatable

    def sometimes(self, chance: float) -> bool:
        return self.random.random() < chance

    def between(self, least: float, most: float) -> float:
        return round(self.random.uniform(least, most), 3)

    def by_size(self, least: float, most: float) -> float:
        """Between two sizes: as likely from 1 to 2 as from 2 to 4."""
        return float(f"{exp(self.random.uniform(log(least), log(most))):.3g}")

    def one_of(self, weights: Mapping[K, float]) -> K:
        return self.random.choices(list(weights), list(weights.values()))[0]

    def about(self, middle: float, sigma: float) -> float:
        """Lognormal around a median."""
        return float(f"{middle * exp(sigma * self.random.gauss()):.3g}")

    def parts(self, count: int, evenness: float) -> list[float]:
        """Shares of a whole (Dirichlet): with a small `evenness` one of them is nearly all."""
        sizes = [self.random.gammavariate(evenness, 1) + 1e-9 for _ in range(count)]
        return _whole(sizes)


def _whole(sizes: Sequence[float]) -> list[float]:
    """Sizes as shares that add up to 1."""
    shares = [round(size / sum(sizes), 4) for size in sizes]
    largest = shares.index(max(shares))
    shares[largest] = round(shares[largest] + 1 - sum(shares), 4)
    return shares


# --- Who renews -------------------------------------------------------------------------------------------------------


def _renewals(draws: _Draws, source: str) -> dict[str, Any]:
    left = {code: weight for code, (_, weight) in COUNTRIES.items()}
    countries = []
    for _ in range(draws.random.randint(1, 4)):
        countries.append(draws.one_of(left))
        del left[countries[-1]]
    own = as_made().renewals
    scale = draws.by_size(0.5, 3)
    runs: list[int] = list(own.run_hours) if draws.sometimes(0.5) else [draws.random.randrange(24)]
    days: list[int] = []
    if draws.sometimes(0.2):
        days = draws.random.choice([[1], [1, 15], [5, 20], [10, 20, 30], [15]])
    return {
        "source": source,
        "countries": [
            {"code": code, "currency": COUNTRIES[code][0], "share": share}
            for code, share in zip(countries, draws.parts(len(countries), 1), strict=True)
        ],
        "networks": [
            {"name": each.name, "share": share}
            for each, share in zip(own.networks, _whole([draws.about(n.share, 0.4) for n in own.networks]), strict=True)
        ],
        "funding": [
            {"name": each.name, "share": share}
            for each, share in zip(own.funding, _whole([draws.about(n.share, 0.5) for n in own.funding]), strict=True)
        ],
        "amounts": [{"minor_units": round(each.minor_units * scale), "share": each.share} for each in own.amounts],
        "run_hours": runs,
        "run_days": days,
    }


def _again(seed: int) -> float:
    # Of a sequence of its own: worlds had no such customers at first, and all else of them is as it was.
    return round(Random(f"world {seed}, again").uniform(0.1, 0.5), 3)  # noqa: S311 - a world has to be repeatable


# --- Why they fail, and how that clears -------------------------------------------------------------------------------


def _codes(draws: _Draws) -> list[dict[str, Any]]:
    own = as_made().causes.codes
    missing_funds = draws.between(0.25, 0.65)
    others = _whole([draws.about(each.share, 0.5) for each in own[1:]])
    eagerness = draws.between(0.5, 1.5)
    found = []
    for each, share in zip(own, [missing_funds, *(part * (1 - missing_funds) for part in others)], strict=True):
        clears = 0.0
        if each.code == "insufficient_funds":
            clears = draws.between(0.5, 0.95)
        elif each.code == "expired_card":
            clears = draws.between(0.05, 0.6)
        elif each.clears:
            clears = round(min(0.98, each.clears * draws.between(0.6, 1.3)), 3)
        found.append(
            {
                "code": each.code,
                "share": round(share, 4),
                "clears": clears,
                "approves": draws.between(0.7, 0.98) if clears else 0.0,
                "responds": round(each.responds * eagerness, 3),
                "ways": _ways(draws, each.code) if clears else [],
            }
        )
    return found


def _ways(draws: _Draws, code: str) -> list[dict[str, Any]]:
    if code == "insufficient_funds":
        ways = _ways_of_money(draws)
    elif code in _DELAYED:
        ways = _slow_ways(draws)
    elif code in _SOON:
        way = draws.random.choice(["outage", "delay"])
        ways = [{"by": way, "median_hours": draws.about(4, 0.7), "spread": draws.between(0.5, 1.6)}]
    elif code == "expired_card":
        ways = [{"by": "updater", "median_hours": draws.about(120, 0.5), "spread": draws.between(0.5, 1.2)}]
    else:
        parts = zip(("day", "week", "month"), draws.parts(3, 1), strict=True)
        ways = [{"by": "limit", "every": every, "share": share} for every, share in parts]
    return ways


def _ways_of_money(draws: _Draws) -> list[dict[str, Any]]:
    if draws.sometimes(0.3):  # on credit cards it is the limit that is missing
        monthly = {"by": "limit", "every": "month", "funding": ["credit"]}
        return [{"by": "wages", "funding": ["debit", "prepaid"]}, monthly]
    return [{"by": "wages"}]


def _slow_ways(draws: _Draws) -> list[dict[str, Any]]:
    """After `do not honor`: time, rest, or money, because some banks do not say that it is missing."""
    ways: list[dict[str, Any]] = [
        {"by": "delay", "median_hours": draws.about(66, 0.6), "spread": draws.between(0.6, 1.6)}
    ]
    weights = [1.0]
    if draws.sometimes(0.5):
        rest: dict[str, Any] = {"by": "rest", "hours": draws.random.choice(REST_HOURS)}
        if draws.sometimes(0.4):
            rest |= {"most": draws.random.randint(2, 5), "within_days": draws.random.randint(7, 14)}
        ways.append(rest)
        weights.append(draws.between(0.2, 2))
    if draws.sometimes(0.3):
        ways.append({"by": "wages"})
        weights.append(draws.between(0.1, 1))
    return [way | {"share": share} for way, share in zip(ways, _whole(weights), strict=True)]


# --- Wages and money --------------------------------------------------------------------------------------------------


def _wages(draws: _Draws) -> list[dict[str, Any]]:
    groups = []
    for share in draws.parts(draws.random.randint(1, 5), 1):
        rhythm = _rhythm(draws)
        group: dict[str, Any] = {
            "share": share,
            "on": rhythm,
            "not_on_business_days": draws.one_of({"before": 0.6, "after": 0.2, "same": 0.2}),
            "holidays": draws.sometimes(0.7),
            "hour": draws.random.randint(0, 11) if draws.sometimes(0.85) else draws.random.randint(12, 20),
        }
        if draws.sometimes(0.5):
            group["noise"] = {"share": draws.between(0.05, 0.4), "days": draws.random.randint(1, 3)}
        groups.append(group)
    return groups


def _rhythm(draws: _Draws) -> dict[str, Any]:
    kind = draws.one_of(RHYTHMS)
    weekday = draws.one_of(dict(zip(WEEKDAYS, WEEKDAY_WEIGHTS, strict=True)))
    day = draws.random.choice(COMMON_DAYS) if draws.sometimes(0.5) else draws.random.randint(1, 31)
    possible: dict[str, dict[str, Any]] = {
        "weekly": {"weekday": weekday},
        "biweekly": {"weekday": weekday, "weeks": draws.random.choice(["even", "odd"])},
        "one_day": {"rhythm": "days_of_month", "days": [day]},
        "two_days": {"rhythm": "days_of_month", "days": draws.random.choice(PAIRS_OF_DAYS)},
        "last_business_day": {},
        "business_day": {"number": draws.random.randint(1, 7)},
        "last_weekday": {"weekday": weekday},
        "nth_weekday": {"weekday": weekday, "number": draws.random.randint(1, 4)},
        "irregular": {"every_days": draws.by_size(3, 20)},
    }
    return {"rhythm": kind} | possible[kind]


def _funds(draws: _Draws, source: str) -> dict[str, Any]:
    if draws.sometimes(0.6):
        return {"kind": "stay", "source": source, "days": draws.by_size(1, 12)}
    return {
        "kind": "balance",
        "source": source,
        "days": draws.by_size(2, 12),
        "median": draws.by_size(1_500, 30_000),
        "spread": draws.between(0.5, 1.5),
    }


# --- Banks ------------------------------------------------------------------------------------------------------------


def _banks(draws: _Draws) -> list[dict[str, Any]]:
    if not draws.sometimes(0.5):
        return []
    count = draws.random.randint(1, 2)
    *shares, _ = draws.parts(count + 1, 1)
    groups = []
    for share in shares:
        begins = draws.random.randrange(24)
        closed: dict[str, Any] = {
            "from_hour": begins,
            "until_hour": (begins + draws.random.randint(3, 12)) % 24,
            "clock": "local" if draws.sometimes(0.7) else "utc",
            "chance": draws.between(0.3, 1),
        }
        if draws.sometimes(0.15):
            closed["weekdays"] = ["saturday", "sunday"]
        groups.append({"share": share, "closed": [closed]})
    return groups


def _outages(draws: _Draws) -> list[dict[str, Any]]:
    if not draws.sometimes(0.3):
        return []
    start = datetime.combine(FIRST_DAY, time(0), UTC)
    return [
        {
            "begins": (start + timedelta(hours=draws.random.randrange(24 * 49))).isoformat(),
            "hours": draws.by_size(2, 30),
            "share": draws.between(0.1, 0.6),
        }
        for _ in range(draws.random.randint(1, 3))
    ]


# --- Customers, and what changes --------------------------------------------------------------------------------------


def _messages(draws: _Draws, source: str) -> dict[str, Any]:
    hours = []
    if draws.sometimes(0.5):
        hours.append({"from_hour": 22, "until_hour": 7, "factor": draws.between(0.2, 0.9)})
    if draws.sometimes(0.3):
        begins = draws.random.randint(8, 19)
        hours.append({"from_hour": begins, "until_hour": begins + 3, "factor": draws.between(1.05, 1.5)})
    return {
        "source": source,
        "fades": draws.between(0.4, 0.8),
        "median_hours": draws.by_size(3, 36),
        "spread": draws.between(0.8, 1.6),
        "hours": hours,
    }


def _drift(draws: _Draws) -> list[dict[str, Any]]:
    """In a quarter of the worlds something changes in the weeks from which is learned, or in the compared ones."""
    if not draws.sometimes(0.25):
        return []
    first = date(2025, 11, 1)
    days = sorted(draws.random.sample(range(80), draws.random.randint(1, 2)))
    return [
        {
            "since": (first + timedelta(days=day)).isoformat(),
            "wages_days": draws.random.randint(-7, 7),
            "bank_hours": draws.random.randint(-8, 8) if draws.sometimes(0.5) else 0,
        }
        for day in days
    ]
