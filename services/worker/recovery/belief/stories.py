"""The belief as a set of stories: bit `i` of a row says whether the `i`-th story accepts an attempt at a time.

So thousands of stories are asked at once: the share that accepts is a count of bits. Stories of one way lie beside each
other. A row is an array of 64-bit words, and many times are one matrix of rows, so that a plan is a few operations on
arrays (NumPy) rather than one for each time.

A story of wages has money for so many hours from each payday on; a delayed one becomes possible after so many hours. So
each story has one number of hours, and whether it accepts is a comparison with the hours that have passed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import count
from math import ceil, exp, log
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.belief.parts import BANKS, DELAY_NAMES, DELAYS, NEVER, RESETS, STAYS, Weights
from services.worker.recovery.belief.paydays import RULES
from services.worker.recovery.timezones import zone_of

Bits = npt.NDArray[np.uint64]
"""One row of stories (words), or one row for each time (times x words)."""

SIZE: Final = 4096
APPROVED: Final = 0.8
"""How often a bank accepts an attempt at a time at which it would, by the story. Assumed."""
QUARTERS: Final = 4
"""Money is looked at four times a day, in the middle of each quarter."""
KEPT_DAYS: Final = 8_192
"""So many days' money (of 2.4 KB, 20 MB in all) are kept by all stories of a process together."""
_HOURS: Final = 24
_HOUR_S: Final = 3600.0
_WORD: Final = 64
_SATURDAY: Final = 5
PAID_AT_HOUR: Final = 5
"""Wages are booked overnight, by the local clock."""
# Money that has been there longer is taken for gone.
_LONGEST_STAY_DAYS: Final = 60
_NOISES: Final = 32
# What fewer of the stories have in common is no reason.
_LEAST_IN_COMMON: Final = 0.3
# More hours than any that have passed.
_LONG: Final = 65_535
_PLACE_OF_RULE: Final = {name: place for place, name in enumerate(RULES)}


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


class Stories:
    """The stories of a belief, for cards of one country. `size`: how many, in whole words of 64.

    An object takes up to 45 KB, and 2.4 KB for each day that it is asked about: of these, all objects of a process
    together keep `KEPT_DAYS`.
    """

    def __init__(
        self, weights: Weights, country: str | None, size: int = SIZE, told: Mapping[str, str] | None = None
    ) -> None:
        """`told`: the reasons of some ways, where they are others than usual."""
        self.zone, self.all, self._country = zone_of(country), _filled(size, 0, size), country
        self.number = next(_numbers)
        runs = runs_of(weights, size)
        self._waged = _Waged(runs, size)
        self._delayed = _Delayed(runs, size)
        self._reset = [(run.way, _filled(size, run.first, run.count)) for run in runs if run.way in RESETS]
        self._open = _open_hours(weights.banks, size)
        self._noise = _noise(size)
        self._reasons = _Reasons(runs, told or {})

    def accepting(self, at: datetime, failed_at: datetime) -> Bits:
        """The stories in which the bank accepts an attempt at `at`, of a payment that failed first at `failed_at`."""
        local = at.astimezone(self.zone)
        possible = self._money(local.date())[local.hour * QUARTERS // _HOURS]
        if at > failed_at:
            possible = possible | self._passed(np.array([at.timestamp()]), failed_at)[0]
        accepting: Bits = possible & self._open[int(local.weekday() >= _SATURDAY), local.hour]
        return accepting

    def accepting_each(
        self, days: Sequence[date], hours: Sequence[int], at: npt.NDArray[np.float64], failed_at: datetime
    ) -> Bits:
        """As `accepting`, for the same local hours, as many in each quarter, of some days; `at` are their times."""
        rows = self._passed(at, failed_at)
        if self._waged.any:
            money = np.concatenate([self._money(day) for day in days])
            by_quarter = rows.reshape(len(money), -1, rows.shape[1])
            by_quarter |= money[:, None, :]
        by_day = rows.reshape(len(days), len(hours), -1)
        by_day &= self._open[:, hours][[int(day.weekday() >= _SATURDAY) for day in days]]
        return rows

    def ruled_out(self, accepting: Bits, at: float) -> Bits:
        """Of the stories that accept an attempt at this time, those that its decline rules out: not quite all, because
        a bank may decline all the same. Which ones depends on the hour alone, not on what came before."""
        ruled_out: Bits = accepting & self._noise[int(at // _HOUR_S) * 7919 % _NOISES]
        return ruled_out

    def why(self, reached: Bits) -> list[str | None]:
        """What most of the stories of each row have in common, as a sentence for the merchant; None if they have
        little."""
        return self._reasons.of(reached)

    def _passed(self, at: npt.NDArray[np.float64], failed_at: datetime) -> Bits:
        """The stories whose delay or limit is over, at times in rising order."""
        rows = self._delayed.passed((at - failed_at.timestamp()) // _HOUR_S)
        for window, stories in self._reset:
            rows[np.searchsorted(at, reset_at(window, failed_at, self.zone)) :] |= stories
        return rows

    def _money(self, day: date) -> Bits:
        """The stories with money in each quarter of a local day."""
        key = (self.number, day.toordinal())
        found = _days.get(key)
        if found is None:
            found = _days.keep(key, self._waged.money(self._country, day))
        return found


_numbers = count()
_days: Final[Kept[tuple[int, int], Bits]] = Kept(KEPT_DAYS)


def how_many(stories: Bits) -> int:
    """The number of stories in a row."""
    # For one row this takes a third of the time of a sum of NumPy's.
    return int.from_bytes(stories.tobytes(), "little").bit_count()


# --- Hours that have passed ------------------------------------------------------------------------------------------


class _Delayed:
    """After how many hours each story becomes possible for good, in whole hours; for those between the first and the
    last one that does, in whole bytes."""

    def __init__(self, runs: Sequence[Run], size: int) -> None:
        delayed = [run for run in runs if run.way in DELAY_NAMES]
        self._size = size
        self._bytes, self._after = _in_whole_bytes(delayed, _LONG)

    def passed(self, elapsed: npt.NDArray[np.float64]) -> Bits:
        """Those that are possible after so many hours each."""
        rows = np.zeros((len(elapsed), self._size // 8), np.uint8)
        if self._after.size:
            hours = np.clip(elapsed, 0, _LONG - 1).astype(np.uint16)
            rows[:, self._bytes] = np.packbits(self._after <= hours[:, None], axis=1, bitorder="little")
        return rows.view(np.uint64)


class _Waged:
    """How many hours the money of each story stays, and by which rule it comes."""

    def __init__(self, runs: Sequence[Run], size: int) -> None:
        waged = [run for run in runs if run.way in RULES]
        self.any = bool(waged)
        self._size = size
        # The longest stays are at a run's first bits.
        falling = [Run(run.way, run.first, run.count, run.hours[::-1]) for run in waged]
        self._bytes, self._stays = _in_whole_bytes(falling, 0)
        self._rules = np.zeros(self._stays.size, np.uint8)
        for run in waged:
            begins = run.first - self._bytes.start * 8
            self._rules[begins : begins + run.count] = _PLACE_OF_RULE[run.way]

    def money(self, country: str | None, day: date) -> Bits:
        """Those with money in each quarter of a local day."""
        rows = np.zeros((QUARTERS, self._size // 8), np.uint8)
        if self.any:
            since = _hours_since_each(country, day)[:, self._rules]
            rows[:, self._bytes] = np.packbits(self._stays > since, axis=1, bitorder="little")
        return rows.view(np.uint64)


def _in_whole_bytes(runs: Sequence[Run], otherwise: int) -> tuple[slice, npt.NDArray[np.uint16]]:
    """The bytes of a row in which the runs are, and each story's hours there, rounded up: hours that have passed are
    whole. `otherwise`: of stories that are in none of them."""
    if not runs:
        return slice(0, 0), np.zeros(0, np.uint16)
    begins = min(run.first for run in runs) // 8
    ends = -(-max(run.first + run.count for run in runs) // 8)
    found = np.full((ends - begins) * 8, otherwise, np.uint16)
    for run in runs:
        found[run.first - begins * 8 :][: run.count] = [ceil(hours) for hours in run.hours]
    return slice(begins, ends), found


def hours_since(country: str | None, day: date, hour: int) -> npt.NDArray[np.float64]:
    """How many hours ago wages came at the latest, at a local hour, by each of `RULES`; infinity when that is long
    ago."""
    early = hour < PAID_AT_HOUR
    days = _days_since(country, day - timedelta(days=1) if early else day)
    hours = days * float(_HOURS) + (hour - PAID_AT_HOUR + (_HOURS if early else 0))
    return np.where(days == _LONG, np.inf, hours)


@lru_cache(maxsize=4_096)
def _hours_since_each(country: str | None, day: date) -> npt.NDArray[np.uint16]:
    """How many hours ago wages came in the middle of each quarter (a row), by each rule (a column)."""
    found = np.empty((QUARTERS, len(RULES)), np.uint16)
    for quarter in range(QUARTERS):
        hour = (quarter * 2 + 1) * _HOURS // QUARTERS // 2
        early = hour < PAID_AT_HOUR
        days = _days_since(country, day - timedelta(days=1) if early else day)
        hours = days * _HOURS + (hour - PAID_AT_HOUR + (_HOURS if early else 0))
        found[quarter] = np.where(days == _LONG, _LONG, hours)
    return found


@lru_cache(maxsize=8_192)
def _days_since(country: str | None, day: date) -> npt.NDArray[np.uint16]:
    """How many days ago the last payday was, by each rule; `_LONG` when that is long ago."""
    paid = np.stack([_paid_on(country, day - timedelta(days=ago)) for ago in range(_LONGEST_STAY_DAYS)])
    return np.where(paid.any(axis=0), paid.argmax(axis=0), _LONG).astype(np.uint16)


@lru_cache(maxsize=8_192)
def _paid_on(country: str | None, day: date) -> npt.NDArray[np.bool_]:
    """By which rules the day is a payday."""
    return np.array([rule.is_payday(day, country) for rule in RULES.values()])


def reset_at(window: str, failed_at: datetime, zone: ZoneInfo) -> float:
    """When a limit that was reached then is reset: at the end of the local day, week or month. Unix seconds."""
    return _reset_at(window, failed_at.astimezone(zone).date(), zone)


@lru_cache(maxsize=65_536)
def _reset_at(window: str, today: date, zone: ZoneInfo) -> float:
    if window == "day":
        ends = today + timedelta(days=1)
    elif window == "week":
        ends = today + timedelta(days=7 - today.weekday())
    else:
        ends = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime.combine(ends, time(0), zone).astimezone(UTC).timestamp()


# --- What stories have in common -------------------------------------------------------------------------------------


class _Reasons:
    """The reasons for an attempt, and the stories for which each speaks."""

    def __init__(self, runs: Sequence[Run], others: Mapping[str, str]) -> None:
        self._first = [run.first for run in runs]
        self._ends = max((run.first + run.count for run in runs), default=0)
        told = [others.get(run.way) or _reason(run.way) for run in runs]
        self._texts = list(dict.fromkeys(told))
        # A payday has a rule for each convention: their stories speak for one reason.
        self._speaks = np.zeros((len(told), len(self._texts)), np.uint16)
        for number, text in enumerate(told):
            self._speaks[number, self._texts.index(text)] = 1

    def of(self, reached: Bits) -> list[str | None]:
        """For each row the one that speaks for most of its stories."""
        if not self._first or not len(reached):
            return [None] * len(reached)
        bits = np.unpackbits(reached.view(np.uint8), axis=1, count=self._ends, bitorder="little")
        by_run = np.add.reduceat(bits, self._first, axis=1, dtype=np.uint16)
        counts = by_run @ self._speaks
        least = _LEAST_IN_COMMON * by_run.sum(axis=1)
        most = counts.argmax(axis=1)
        return [
            self._texts[place] if number > enough else None
            for place, number, enough in zip(most, counts.max(axis=1), least, strict=True)
        ]


def _reason(way: str) -> str:
    if way in RULES:
        return f"customers are paid {RULES[way].name}"
    return f"limits of a {way} are over" if way in RESETS else "such declines pass with time"


# --- How stories are made of a belief --------------------------------------------------------------------------------


def runs_of(weights: Weights, size: int) -> tuple[Run, ...]:
    """So many stories of each way as it has a share."""
    found: list[Run] = []
    stays: dict[int, tuple[float, ...]] = {}  # by the number of stories: many paydays have as many
    used, total = 0, 0.0
    for way, share in weights.ways:
        if way == NEVER:
            continue
        total += share * size
        much = round(total) - used
        if not much:
            continue
        if way in RULES:
            if much not in stays:
                stays[much] = _quantiles(STAYS, weights.stays, much)
            hours = stays[much]
        elif way in DELAY_NAMES:
            hours = _quantiles((DELAYS[DELAY_NAMES.index(way)],), (1.0,), much)
        else:
            hours = ()
        found.append(Run(way, used, much, hours))
        used += much
    return tuple(found)


def _quantiles(spans: Sequence[tuple[float, float]], shares: Sequence[float], number: int) -> tuple[float, ...]:
    """So many even quantiles of durations: spans have these shares, and within each they are even on a log scale."""
    logs = [(log(begins), log(ends) - log(begins)) for begins, ends in spans]
    found, below, at = [], 0.0, 0
    for n in range(number):
        wanted = (n + 0.5) / number
        while at < len(spans) - 1 and below + shares[at] < wanted:
            below += shares[at]
            at += 1
        begins, longer = logs[at]
        part = min(1.0, (wanted - below) / shares[at]) if shares[at] else 0.5
        found.append(exp(begins + longer * part))
    return tuple(found)


@lru_cache(maxsize=64)
def _open_hours(shares: tuple[float, ...], size: int) -> Bits:
    """On weekdays and at weekends, by local hour, the stories in which the bank is open: each of `BANKS` has as many as
    it has a share, anywhere among the ways."""
    places = _places(size)
    closed = np.zeros((2, _HOURS, size), np.bool_)
    used, total = 0, 0.0
    for bank, share in zip(BANKS, shares, strict=True):
        total += share * size
        stories = places[used : round(total)]
        used = round(total)
        if isinstance(bank, str):
            closed[1][:, stories] = True
        elif bank is not None:
            first, length = bank
            for hour in range(first, first + length):
                closed[:, hour % _HOURS, stories] = True
    rows: Bits = np.packbits(~closed, axis=2, bitorder="little").view(np.uint64)
    return rows


def _filled(size: int, first: int, number: int) -> Bits:
    """So many bits from `first` on."""
    bits = np.zeros(size, np.bool_)
    bits[first : first + number] = True
    return np.packbits(bits, bitorder="little").view(np.uint64)


@lru_cache(maxsize=4)
def _places(size: int) -> npt.NDArray[np.intp]:
    """All stories in some order, the same in every process."""
    places = list(range(size))
    Random("banks").shuffle(places)  # noqa: S311 - the same belief in every process
    return np.array(places)


@lru_cache(maxsize=4)
def _noise(size: int) -> Bits:
    """Which stories a decline rules out: most, drawn anew for each of some hours."""
    random = Random("noise")  # noqa: S311 - the same belief in every process
    drawn = np.array([[random.random() < APPROVED for _ in range(size)] for _ in range(_NOISES)])
    return np.packbits(drawn, axis=1, bitorder="little").view(np.uint64)
