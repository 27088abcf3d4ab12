"""The belief as a set of stories: bit `i` of a number says whether the `i`-th story accepts an attempt at a time.

So thousands of stories are asked at once: the share that accepts is a count of bits. Stories of one payday rule lie
beside each other, ordered by how long their money stays, so that those whose money is still there are a run of bits.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import exp, log
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from services.worker.recovery.belief.paydays import RULES
from services.worker.recovery.belief.prior import (
    APPROVED,
    DECLINE_AT_WEEKENDS,
    DECLINE_BY_HOUR,
    HOURS_CLOSED,
    PRIORS,
    STAYS_DAYS,
    Prior,
    payday_shares,
)
from services.worker.recovery.timezones import zone_of
from shared.policy import DeclineCause

SIZE: Final = 4096
ALL: Final = (1 << SIZE) - 1
_HOURS: Final = 24
_HOUR_S: Final = 3600.0
# Wages are booked overnight.
_PAID_AT_HOUR: Final = 5
# Money that has been there longer is taken for gone.
_LONGEST_STAY_DAYS: Final = 60
_NOISES: Final = 32
# What fewer of the stories have in common is no reason.
_LEAST_IN_COMMON: Final = 0.3


@dataclass(frozen=True, slots=True)
class _Waged:
    """Stories of one payday rule: `first` is the bit of the one whose money stays longest. `stays` in hours, rising."""

    rule: str
    first: int
    stays: tuple[float, ...]


class Stories:
    """The stories after one cause, for cards of one country; `wages` are shares of paydays that the merchant knows."""

    def __init__(self, cause: DeclineCause, country: str | None, wages: Mapping[str, float]) -> None:
        self.zone, self._country = zone_of(country), country
        prior = PRIORS.get(cause, PRIORS[DeclineCause.UNKNOWN])
        random = Random(f"{cause}/{country}")  # noqa: S311 - the same belief in every process
        self._waged, used = _wages(prior, country, wages)
        self._delayed, used = _delays(prior, used)
        self._reset, used = _resets(prior, used)
        self._open = _hours(random)
        self._noise = tuple(_draw(random, APPROVED) for _ in range(_NOISES))
        self._money: dict[tuple[int, int], int] = {}

    def accepting(self, at: datetime, failed_at: datetime) -> int:
        """The stories in which the bank accepts an attempt at `at`, of a payment that failed first at `failed_at`."""
        local = at.astimezone(self.zone)
        return self.accepting_at(at.timestamp(), local.date(), local.hour, failed_at)

    def accepting_at(self, at: float, day: date, hour: int, failed_at: datetime) -> int:
        """As `accepting`, for who knows the local day and hour already."""
        possible = self._with_money(day, hour)
        elapsed = (at - failed_at.timestamp()) / _HOUR_S
        for first, delays in self._delayed:
            possible |= _run(first, bisect_right(delays, elapsed))
        for first, count, window in self._reset:
            if at >= _reset_at(window, failed_at, self.zone):
                possible |= _run(first, count)
        return possible & self._open[day.weekday()][hour]

    def ruled_out(self, accepting: int, at: float) -> int:
        """Of the stories that accept an attempt at this time, those that its decline rules out: not quite all, because
        a bank may decline all the same. Which ones depends on the hour alone, not on what came before."""
        return accepting & self._noise[int(at // _HOUR_S) * 7919 % _NOISES]

    def why(self, reached: int) -> str | None:
        """What most of these stories have in common, as a sentence for the merchant; None if they have little."""
        groups = [(w.first, len(w.stays), f"customers are paid {RULES[w.rule].name}") for w in self._waged]
        groups += [(first, len(delays), "such declines pass with time") for first, delays in self._delayed]
        groups += [(first, count, f"limits of a {window} are over") for first, count, window in self._reset]
        reasons = [((_run(first, count) & reached).bit_count(), text) for first, count, text in groups]
        most, text = max(reasons, key=lambda each: each[0], default=(0, ""))
        return text if most > _LEAST_IN_COMMON * reached.bit_count() else None

    def _with_money(self, day: date, hour: int) -> int:
        if not self._waged:
            return 0
        quarter = hour // 6
        key = (day.toordinal(), quarter)
        found = self._money.get(key)
        if found is None:
            found = self._money[key] = self._count_money(day, quarter * 6 + 3)
            if len(self._money) > 2_000:
                self._money.pop(next(iter(self._money)))
        return found

    def _count_money(self, day: date, hour: int) -> int:
        money = 0
        for waged in self._waged:
            since = _days_since(waged.rule, self._country, day if hour >= _PAID_AT_HOUR else day - timedelta(days=1))
            if since is None:
                continue
            gone = since * _HOURS + hour - _PAID_AT_HOUR + (_HOURS if hour < _PAID_AT_HOUR else 0)
            count = len(waged.stays) - bisect_right(waged.stays, gone)
            money |= _run(waged.first, count)
        return money


def stories_of(cause: DeclineCause, country: str | None, wages: Mapping[str, float]) -> Stories:
    """The stories after a cause; made once."""
    return _stories(cause, country.upper() if country else None, tuple(sorted(wages.items())))


@lru_cache(maxsize=512)
def _stories(cause: DeclineCause, country: str | None, wages: tuple[tuple[str, float], ...]) -> Stories:
    return Stories(cause, country, dict(wages))


@lru_cache(maxsize=65_536)
def _days_since(rule: str, country: str | None, day: date) -> int | None:
    """How many days ago the last payday was; None when that is long ago."""
    is_payday = RULES[rule].is_payday
    for ago in range(_LONGEST_STAY_DAYS):
        if is_payday(day - timedelta(days=ago), country):
            return ago
    return None


@lru_cache(maxsize=65_536)
def _reset_at(window: str, failed_at: datetime, zone: ZoneInfo) -> float:
    """When a limit that was reached then is reset."""
    today = failed_at.astimezone(zone).date()
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


def _wages(prior: Prior, country: str | None, known: Mapping[str, float]) -> tuple[tuple[_Waged, ...], int]:
    found: list[_Waged] = []
    used = 0
    if prior.wages:
        total = 0.0
        for rule, share in payday_shares(country, known).items():
            total += share * prior.wages * SIZE
            count = round(total) - used
            if count:
                found.append(_Waged(rule, used, _stays(count)))
                used += count
    return tuple(found), used


def _stays(count: int) -> tuple[float, ...]:
    """Stays in hours, the shortest first: even quantiles of a mixture of exponential durations."""

    def longer(hours: float) -> float:
        return sum(exp(-hours / (mean * _HOURS)) for mean in STAYS_DAYS) / len(STAYS_DAYS)

    found = []
    for n in range(count):
        share, low, high = 1 - (n + 0.5) / count, 0.0, _LONGEST_STAY_DAYS * float(_HOURS)
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if longer(middle) > share else (low, middle)
        found.append(low)
    return tuple(found)


def _delays(prior: Prior, used: int) -> tuple[tuple[tuple[int, Sequence[float]], ...], int]:
    found = []
    for share, least, most in prior.delays:
        count = round(share * SIZE)
        hours = tuple(exp(log(least) + (log(most) - log(least)) * (n + 0.5) / count) for n in range(count))
        found.append((used, hours))
        used += count
    return tuple(found), used


def _resets(prior: Prior, used: int) -> tuple[tuple[tuple[int, int, str], ...], int]:
    found = []
    for window, share in (prior.resets or {}).items():
        count = round(share * SIZE)
        found.append((used, count, window))
        used += count
    return tuple(found), used


def _hours(random: Random) -> tuple[tuple[int, ...], ...]:
    """By weekday and local hour, the stories in which the bank is open."""
    is_open = [[bytearray(SIZE // 8) for _ in range(_HOURS)] for _ in range(2)]
    for story in range(SIZE):
        closed = set[int]()
        if random.random() < DECLINE_BY_HOUR:
            first, length = random.randrange(_HOURS), random.randint(*HOURS_CLOSED)
            closed = {(first + n) % _HOURS for n in range(length)}
        rests = random.random() < DECLINE_AT_WEEKENDS
        for kind, open_then in enumerate((True, not rests)):
            for hour in range(_HOURS):
                if open_then and hour not in closed:
                    is_open[kind][hour][story >> 3] |= 1 << (story & 7)
    week, weekend = (tuple(int.from_bytes(bits, "little") for bits in each) for each in is_open)
    return (week,) * 5 + (weekend,) * 2


def _draw(random: Random, share: float) -> int:
    return sum(1 << story for story in range(SIZE) if random.random() < share)
