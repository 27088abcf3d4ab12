"""The belief as a set of stories: bit `i` of a number says whether the `i`-th story accepts an attempt at a time.

So thousands of stories are asked at once: the share that accepts is a count of bits. Stories of one way lie beside each
other; those of one payday are ordered by how long their money stays, so that those whose money is still there are a run
of bits.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import exp, log
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from services.worker.recovery.belief.parts import BANKS, DELAY_NAMES, DELAYS, NEVER, RESETS, STAYS, Weights
from services.worker.recovery.belief.paydays import RULES
from services.worker.recovery.timezones import zone_of

SIZE: Final = 4096
APPROVED: Final = 0.8
"""How often a bank accepts an attempt at a time at which it would, by the story. Assumed."""
_HOURS: Final = 24
_HOUR_S: Final = 3600.0
PAID_AT_HOUR: Final = 5
"""Wages are booked overnight, by the local clock."""
# Money that has been there longer is taken for gone.
_LONGEST_STAY_DAYS: Final = 60
_NOISES: Final = 32
# What fewer of the stories have in common is no reason.
_LEAST_IN_COMMON: Final = 0.3
_KEPT_HOURS: Final = 1_500


@dataclass(frozen=True, slots=True)
class Run:
    """The stories of one way: so many bits from `first` on.

    `hours`, rising: how long their money stays, the longest at the first bit; or after how long they become possible,
    the soonest at the first bit.
    """

    way: str
    first: int
    count: int
    hours: tuple[float, ...] = ()

    @property
    def bits(self) -> int:
        """Its stories."""
        return _run(self.first, self.count)


class Stories:
    """The stories of a belief, for cards of one country."""

    def __init__(self, weights: Weights, country: str | None, size: int = SIZE) -> None:
        self.zone, self.all, self._country = zone_of(country), (1 << size) - 1, country
        runs = _runs(weights, size)
        self._waged = [run for run in runs if run.way in RULES]
        self._delayed = [run for run in runs if run.way in DELAY_NAMES]
        self._reset = [run for run in runs if run.way in RESETS]
        self._open = _hours(_banks(weights.banks, size), size)
        self._noise = _noise(size)
        self._money: dict[tuple[int, int], int] = {}
        self._by_hour: dict[tuple[int, int], int] = {}
        self._by_elapsed: dict[int, int] = {}

    def accepting(self, at: datetime, failed_at: datetime) -> int:
        """The stories in which the bank accepts an attempt at `at`, of a payment that failed first at `failed_at`."""
        local = at.astimezone(self.zone)
        return self.accepting_at(at.timestamp(), local.date(), local.hour, failed_at)

    def accepting_at(self, at: float, day: date, hour: int, failed_at: datetime) -> int:
        """As `accepting`, for who knows the local day and hour already."""
        key = (day.toordinal(), hour)
        waged = self._by_hour.get(key)
        if waged is None:
            waged = self._by_hour[key] = self._with_money(day, hour) & self._open[day.weekday()][hour]
            if len(self._by_hour) > _KEPT_HOURS:
                self._by_hour.pop(next(iter(self._by_hour)))
        elapsed = int((at - failed_at.timestamp()) // _HOUR_S)
        passed = self._by_elapsed.get(elapsed)
        if passed is None:
            passed = 0
            for run in self._delayed:
                passed |= _run(run.first, bisect_right(run.hours, elapsed))
            self._by_elapsed[elapsed] = passed
        for run in self._reset:
            if at >= reset_at(run.way, failed_at, self.zone):
                passed |= run.bits
        return waged | passed & self._open[day.weekday()][hour]

    def ruled_out(self, accepting: int, at: float) -> int:
        """Of the stories that accept an attempt at this time, those that its decline rules out: not quite all, because
        a bank may decline all the same. Which ones depends on the hour alone, not on what came before."""
        return accepting & self._noise[int(at // _HOUR_S) * 7919 % _NOISES]

    def why(self, reached: int) -> str | None:
        """What most of these stories have in common, as a sentence for the merchant; None if they have little."""
        reasons: defaultdict[str, int] = defaultdict(int)
        for run in self._waged:
            reasons[f"customers are paid {RULES[run.way].name}"] += (run.bits & reached).bit_count()
        for run in self._delayed:
            reasons["such declines pass with time"] += (run.bits & reached).bit_count()
        for run in self._reset:
            reasons[f"limits of a {run.way} are over"] += (run.bits & reached).bit_count()
        text, most = max(reasons.items(), key=lambda each: each[1], default=("", 0))
        return text if most > _LEAST_IN_COMMON * reached.bit_count() else None

    def _with_money(self, day: date, hour: int) -> int:
        if not self._waged:
            return 0
        quarter = hour // 6
        key = (day.toordinal(), quarter)
        found = self._money.get(key)
        if found is None:
            found = self._money[key] = self._count_money(day, quarter * 6 + 3)
            if len(self._money) > _KEPT_HOURS:
                self._money.pop(next(iter(self._money)))
        return found

    def _count_money(self, day: date, hour: int) -> int:
        money = 0
        for run in self._waged:
            since = hours_since(run.way, self._country, day, hour)
            if since is not None:
                money |= _run(run.first, run.count - bisect_right(run.hours, since))
        return money


def hours_since(rule: str, country: str | None, day: date, hour: int) -> int | None:
    """How many hours ago wages came by this rule at the latest, at a local hour; None when that is long ago."""
    early = hour < PAID_AT_HOUR
    days = _days_since(rule, country, day - timedelta(days=1) if early else day)
    return None if days is None else days * _HOURS + hour - PAID_AT_HOUR + (_HOURS if early else 0)


def reset_at(window: str, failed_at: datetime, zone: ZoneInfo) -> float:
    """When a limit that was reached then is reset: at the end of the local day, week or month. Unix seconds."""
    return _reset_at(window, failed_at.astimezone(zone).date(), zone)


@lru_cache(maxsize=65_536)
def _days_since(rule: str, country: str | None, day: date) -> int | None:
    """How many days ago the last payday was; None when that is long ago."""
    is_payday = RULES[rule].is_payday
    for ago in range(_LONGEST_STAY_DAYS):
        if is_payday(day - timedelta(days=ago), country):
            return ago
    return None


@lru_cache(maxsize=65_536)
def _reset_at(window: str, today: date, zone: ZoneInfo) -> float:
    if window == "day":
        ends = today + timedelta(days=1)
    elif window == "week":
        ends = today + timedelta(days=7 - today.weekday())
    else:
        ends = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime.combine(ends, time(0), zone).astimezone(UTC).timestamp()


def _run(first: int, count: int) -> int:
    """So many bits from `first` on."""
    return ((1 << count) - 1) << first


def _runs(weights: Weights, size: int) -> tuple[Run, ...]:
    """So many stories of each way as it has a share."""
    found: list[Run] = []
    used, total = 0, 0.0
    for way, share in weights.ways:
        if way == NEVER:
            continue
        total += share * size
        count = round(total) - used
        if not count:
            continue
        if way in RULES:
            hours = _quantiles(STAYS, weights.stays, count)
        elif way in DELAY_NAMES:
            hours = _quantiles((DELAYS[DELAY_NAMES.index(way)],), (1.0,), count)
        else:
            hours = ()
        found.append(Run(way, used, count, hours))
        used += count
    return tuple(found)


def _quantiles(spans: Sequence[tuple[float, float]], shares: Sequence[float], count: int) -> tuple[float, ...]:
    """So many even quantiles of durations: spans have these shares, and within each they are even on a log scale."""
    found, below, at = [], 0.0, 0
    for n in range(count):
        wanted = (n + 0.5) / count
        while at < len(spans) - 1 and below + shares[at] < wanted:
            below += shares[at]
            at += 1
        begins, ends = spans[at]
        part = min(1.0, (wanted - below) / shares[at]) if shares[at] else 0.5
        found.append(exp(log(begins) + (log(ends) - log(begins)) * part))
    return tuple(found)


def _banks(shares: Sequence[float], size: int) -> tuple[int, ...]:
    """The stories of each of `BANKS`: so many as it has a share, anywhere among the ways."""
    places = _places(size)
    found, used, total = [], 0, 0.0
    for share in shares:
        total += share * size
        bits = bytearray(size // 8)
        for story in places[used : round(total)]:
            bits[story >> 3] |= 1 << (story & 7)
        used = round(total)
        found.append(int.from_bytes(bits, "little"))
    return tuple(found)


def _hours(banks: Sequence[int], size: int) -> tuple[tuple[int, ...], ...]:
    """By weekday and local hour, the stories in which the bank is open."""
    week = [(1 << size) - 1] * _HOURS
    weekend = list(week)
    for bank, stories in zip(BANKS, banks, strict=True):
        if bank is None:
            continue
        if isinstance(bank, str):
            weekend = [each & ~stories for each in weekend]
            continue
        first, length = bank
        for hour in range(first, first + length):
            week[hour % _HOURS] &= ~stories
            weekend[hour % _HOURS] &= ~stories
    return (tuple(week),) * 5 + (tuple(weekend),) * 2


@lru_cache(maxsize=4)
def _places(size: int) -> tuple[int, ...]:
    """All stories in some order, the same in every process."""
    places = list(range(size))
    Random("banks").shuffle(places)  # noqa: S311 - the same belief in every process
    return tuple(places)


@lru_cache(maxsize=4)
def _noise(size: int) -> tuple[int, ...]:
    """Which stories a decline rules out: most, drawn anew for each of some hours."""
    random = Random("noise")  # noqa: S311 - the same belief in every process
    return tuple(sum(1 << story for story in range(size) if random.random() < APPROVED) for _ in range(_NOISES))
