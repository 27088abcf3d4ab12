"""The law by which a small world's customers are drawn, without drawing them: shares instead of samples.

In a small world (`small.py`) all failures are missing funds of one country and amount; whoever has money again has it
from one payday on, once in the window; a bank that is open accepts; and whoever is closed is it in one part of the day.
Money comes and banks open at full hours of the grid alone. So in the hours between two of its times nobody gets money
and no bank opens, and an attempt there reaches nobody whom one at the beginning does not reach: to look at the grid is
to look at all times. `law_of` refuses every world for which that does not hold.

`tests/unit/console/evaluation/bound/test_law.py` holds it against what `Population` draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import erf, log
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from console.evaluation.bound.best import Floats, Gains, Places, Schedule
from console.evaluation.population import DAYS, FIRST_DAY
from console.evaluation.worlds import World
from console.evaluation.worlds.banks import HOUR
from console.evaluation.worlds.calendars import paydays, run_days_of
from console.evaluation.worlds.document import Stay
from console.evaluation.worlds.funds import DAY
from console.evaluation.worlds.wages import Irregular, WageGroup
from services.worker.recovery.timezones import zone_of

PARTS: Final = ((22, 7), (7, 16), (16, 22))
"""The parts of the day in which banks may be closed, from and to a local hour: night, office hours, evening."""
GRID: Final = (1, 4, 7, 10, 13, 16, 19, 22)
"""The local hours at which wages come and parts begin. Those at which our planner plans attempts, too."""
FAR_DAYS: Final = 40


class NotSmallError(ValueError):
    """The world has something by which the bound would not be exact: it says what."""


@dataclass(frozen=True, slots=True)
class Law:
    """Customers whose renewals fail at `opened_at`. Times are seconds since the epoch; shares are of all failures.

    arrivals: when money comes, and to what share, within the window: later money is of no use. closed: the shares of
    banks that are closed in each of PARTS, and in none. stays: how its money stays. at, part: the grid in the window.
    """

    opened_at: float
    arrivals: tuple[tuple[float, float], ...]
    closed: tuple[float, ...]
    stays: "Stays"
    at: Floats
    part: Places
    zone: ZoneInfo

    def played(self, times: Sequence[float]) -> Schedule:
        """What attempts at these times (rising) collect, of one whole: on the grid or not.

        Nobody is reached by another attempt than the first one after the money came for which the bank is open: if it
        is gone by then, it is for all later ones.
        """
        reached = [0.0] * len(times)
        parts = [self.part_of(at) for at in times]
        for closed, of_bank in enumerate(self.closed):
            seen = [number for number, part in enumerate(parts) if part != closed]
            for begins, share in self.arrivals:
                first = next((number for number in seen if times[number] >= begins), None)
                if first is not None:
                    after = np.array([times[first] - begins])
                    reached[first] += of_bank * share * float(self.stays.after(after)[0])
        attempts, left = 0.0, 1.0
        for each in reached:
            attempts += left
            left -= each
        return Schedule(tuple(times), 1 - left, attempts, 1.0)

    @property
    def possible(self) -> float:
        """What the clairvoyant collects: whoever can pay at some time of the window."""
        return self.played(self.at.tolist()).collected

    def part_of(self, at: float) -> int:
        """The part of the day of a time."""
        return part_at(datetime.fromtimestamp(at, self.zone).hour)

    def beginning(self) -> Floats:
        """As `Gains.of` asks for it: by the part in which the bank is closed, the money's time, the attempt's time."""
        found = np.zeros((len(self.closed), len(self.at), len(self.at)))
        for begins, share in self.arrivals:
            place = int(np.searchsorted(self.at, begins))
            there = share * self.stays.after(self.at[place:] - begins)
            found[:, place, place:] += np.outer(self.closed, there)
        return found

    def gains(self) -> Gains:
        """Whom attempts reach, for who knows this law."""
        return Gains.of(self.at, self.part, self.beginning())


@dataclass(frozen=True, slots=True)
class Stays:
    """How long money stays: the share of arrivals that leave enough, for longer than so many seconds.

    Exponential with a mean of `days`; or with a `median` balance (in invoices) and its `spread`, which is spent: after
    `days` days 37 % of it are left (`worlds/funds.py`).
    """

    days: float
    median: float | None = None
    spread: float = 0.0

    def after(self, seconds: Floats) -> Floats:
        """The share that can pay so long after the money came."""
        gone = seconds / DAY / self.days
        if self.median is None:
            found: Floats = np.exp(-gone)
            return found
        # A balance of e^z medians is enough for as long as it has not fallen to one invoice.
        needed = (gone - log(self.median)) / self.spread
        return np.array([0.5 - 0.5 * erf(each / 2**0.5) for each in needed.tolist()])


def part_at(hour: int) -> int:
    """The part of the day of a local hour."""
    return next(number for number, (begins, ends) in enumerate(PARTS) if (hour - begins) % 24 < (ends - begins) % 24)


def laws_of(world: World, window_days: int, gap_hours: float) -> list[Law]:
    """The laws of a small world, one for each run of renewals among the compared days, all as likely.

    `window_days`, `gap_hours`: from so many hours to so many days after a failure attempts may be made. Raises
    NotSmallError.
    """
    small = _Small(world)
    runs = run_days_of(world.renewals.run_days, FIRST_DAY, DAYS)
    hours = world.renewals.run_hours
    start = datetime.combine(FIRST_DAY, time(0), UTC).timestamp()
    return [
        small.law(start + run * DAY + hours[run % len(hours)] * HOUR, window_days, gap_hours * HOUR) for run in runs
    ]


class _Small:
    """What the laws of a small world have in common."""

    def __init__(self, world: World) -> None:
        for holds, what in _asked_of(world):
            if not holds:
                raise NotSmallError(f"the world {world.name} is not small: {what}")
        self._world = world
        self._country = world.renewals.countries[0].code
        self._zone, self._clears = zone_of(self._country), world.causes.codes[0].clears
        self._groups = [(each, self._paydays(each)) for each in world.wages.sets[0].groups]
        self._closed = _closed(world)
        funds, amount = world.funds, world.renewals.amounts[0].minor_units
        self._stays = (
            Stays(funds.days) if isinstance(funds, Stay) else Stays(funds.days, funds.median / amount, funds.spread)
        )

    def law(self, opened_at: float, window_days: int, gap: float) -> Law:
        """Of the failures at one time."""
        ends = opened_at + window_days * DAY
        at = [each for each in self._grid(opened_at, ends) if each >= opened_at + gap]
        found: dict[float, float] = {}
        for group, days in self._groups:
            for begins, share in _arrivals(group, days, opened_at, ends):
                found[begins] = found.get(begins, 0.0) + self._clears * group.share * share
        missing = sorted(found.keys() - set(at))
        if missing:
            moment = datetime.fromtimestamp(missing[0], self._zone)
            raise NotSmallError(
                f"the world {self._world.name} is not small: money comes at {moment:%d %b %H:%M}, which is none of the"
                f" hours {', '.join(map(str, GRID))}, or before the first attempt is allowed"
            )
        part = np.array([part_at(datetime.fromtimestamp(each, self._zone).hour) for each in at], np.intp)
        return Law(opened_at, tuple(sorted(found.items())), self._closed, self._stays, np.array(at), part, self._zone)

    def _paydays(self, group: WageGroup) -> tuple[float, ...]:
        # As `Population` does, beyond the window on both sides, because paydays may be off by days.
        first = FIRST_DAY - timedelta(days=FAR_DAYS)
        late = self._world.wages.shift_days
        return paydays(group, self._country, first, DAYS + 3 * FAR_DAYS, lambda _: late)

    def _grid(self, since: float, until: float) -> Iterator[float]:
        day, last = (datetime.fromtimestamp(each, self._zone).date() for each in (since, until))
        while day <= last:
            yield from (each for each in _hours_of(day, self._zone) if since < each < until)
            day += timedelta(days=1)


def _hours_of(day: date, zone: ZoneInfo) -> list[float]:
    return [datetime.combine(day, time(hour), zone).timestamp() for hour in GRID]


def _arrivals(group: WageGroup, days: Sequence[float], opened_at: float, ends: float) -> Iterator[tuple[float, float]]:
    """When money comes within the window to the customers of a group, and to what share of them."""
    moves = _moves(group)
    within = [
        [(payday + number * DAY, share) for number, share in moves.items() if opened_at < payday + number * DAY < ends]
        for payday in days
    ]
    found = [each for each in within if each]
    if len(found) > 1:
        raise NotSmallError(f"wages {group.on} may come twice in one window: not all customers have one span each")
    for each in found:
        yield from each


def _moves(group: WageGroup) -> Mapping[int, float]:
    """By how many days a payday is off, and how likely."""
    if group.noise is None:
        return {0: 1.0}
    each = group.noise.share / 2 / group.noise.days
    moved = {sign * number: each for number in range(1, group.noise.days + 1) for sign in (-1, 1)}
    return {0: 1 - group.noise.share} | moved


def _closed(world: World) -> tuple[float, ...]:
    shares = [0.0] * len(PARTS)
    for group in world.banks.groups:
        (hours,) = group.closed
        shares[PARTS.index((hours.from_hour, hours.until_hour))] += group.share
    return (*shares, 1 - sum(shares))


def _asked_of(world: World) -> Iterator[tuple[Any, str]]:
    """What has to hold, and what is wrong otherwise."""
    renewals, codes = world.renewals, world.causes.codes
    yield len(renewals.countries) == 1, "it has several countries"
    yield len(renewals.amounts) == 1, "it has several amounts"
    code = codes[0]
    yield (len(codes) == 1 and [way.by for way in code.ways] == ["wages"]), "payments fail for more than missing wages"
    yield code.approves == 1, "a bank that is open may decline by chance"
    yield not (code.responds or world.alone.share), "customers pay without an attempt"
    yield len(world.wages.sets) == 1, "wages differ between cards"
    groups = world.wages.sets[0].groups
    yield not any(isinstance(each.on, Irregular) for each in groups), "some are paid at any time"
    yield not world.drift, "it changes"
    yield not world.banks.outages, "there are outages"
    closed = [hours for group in world.banks.groups for hours in group.closed]
    yield (
        (
            len(closed) == len(world.banks.groups)
            and all((each.from_hour, each.until_hour) in PARTS and each.clock == "local" for each in closed)
        ),
        f"banks are closed in other hours than one of {PARTS}",
    )
    yield all(each.chance == 1 and not each.weekdays for each in closed), "banks are closed at times, or by chance"
    yield not any(each.countries or each.funding for each in world.banks.groups), "banks differ between cards"
    zone, days = zone_of(renewals.countries[0].code), (FIRST_DAY, FIRST_DAY + timedelta(days=DAYS + FAR_DAYS))
    clocks = {datetime.combine(each, time(0), zone).utcoffset() for each in days}
    yield len(clocks) == 1, "clocks change during the window"
