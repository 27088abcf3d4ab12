"""The generator's random worlds, made so small that the bound is exact.

A small world is one of `worlds/prior.py` with less in it: missing funds alone, one country and amount, and of its
customers those who are paid once a month. What its seed drew of paydays, business-day rules, noise, shifts, money and
the share that ever clears stays; closed hours become the part of the day that they overlap most, and who is declined at
times only is declined always, in as many banks fewer. Seeds are those of `DESIGN`.
"""

from collections.abc import Iterator
from typing import Any, Final

from console.evaluation.bound.law import GRID, PARTS, part_at
from console.evaluation.worlds import World, read_world
from console.evaluation.worlds.describing import described
from console.evaluation.worlds.prior import DESIGN, random_world

COUNTRY: Final = "GB"
"""Wages are usually monthly there, and its clocks do not change from January to March."""
RUN_DAYS: Final = (1, 6, 11, 16, 21, 26)
"""The days of the month on which renewals fail: six among the compared days, and all weekdays but two."""
RUN_HOUR: Final = 1
"""The same for all worlds: who knows the generator plans once for each day, not for each day and hour."""
MONTHLY: Final = frozenset({"days_of_month", "last_business_day", "business_day", "last_weekday", "nth_weekday"})
MOST_NOISE_DAYS: Final = 1
"""Paydays that are off by more might come twice in a window."""


def small_worlds(first: int, count: int) -> list[tuple[int, World]]:
    """So many small worlds with their seeds, from the seed `first` on. A world without anybody who is paid once a month
    is left out.

    Raises ValueError when the seeds of DESIGN are not enough.
    """
    found: list[tuple[int, World]] = []
    for seed in range(first, DESIGN.stop):
        if len(found) == count:
            break
        world = small_world(seed)
        if world is not None:
            found.append((seed, world))
    if first not in DESIGN or len(found) < count:
        raise ValueError(
            f"from seed {first} on there are {len(found) if first in DESIGN else 0} small worlds, not {count}:"
            f" seeds are {DESIGN.start} to {DESIGN.stop - 1}, of which some have nobody who is paid once a month"
        )
    return found


def small_world(seed: int) -> World | None:
    """The small world of one of the generator's seeds; None where nobody is paid once a month."""
    world = random_world(seed)
    groups = list(_groups(world))
    if not groups:
        return None
    whole = sum(each["share"] for each in groups)
    for each in groups:
        each["share"] /= whole
    code = next(each for each in world.causes.codes if each.code == "insufficient_funds")
    source = f"assumed: drawn by the generator from seed {seed}, and made small"
    usual = max(world.renewals.amounts, key=lambda each: each.share)
    small = read_world(
        {
            "name": f"small-{seed}",
            "about": "-",
            "renewals": {
                "source": source,
                "countries": [{"code": COUNTRY, "currency": "gbp", "share": 1}],
                "networks": [{"name": "visa", "share": 1}],
                "funding": [{"name": "debit", "share": 1}],
                "amounts": [{"minor_units": usual.minor_units, "share": 1}],
                "run_hours": [RUN_HOUR],
                "run_days": list(RUN_DAYS),
            },
            "causes": {
                "source": source,
                "codes": [
                    {
                        "code": code.code,
                        "share": 1,
                        "clears": code.clears,
                        "approves": 1,
                        "responds": 0,
                        "ways": [{"by": "wages"}],
                    }
                ],
            },
            "wages": {"shift_days": world.wages.shift_days, "sets": [{"source": source, "groups": groups}]},
            "funds": world.funds.model_dump(),
            "banks": {"source": source, "groups": list(_banks(world)), "outages": []},
            "messages": {"source": source},
            "alone": {"source": source, "share": 0},
            "drift": [],
        }
    )
    return small.model_copy(update={"about": described(small)})


def _groups(world: World) -> Iterator[dict[str, Any]]:
    """The groups that are paid once a month, of all countries by their shares."""
    shares = {each.code: each.share for each in world.renewals.countries}
    for of_country in world.wages.sets:
        for group in of_country.groups:
            once = len(getattr(group.on, "days", (1,))) == 1
            if group.on.rhythm in MONTHLY and once and group.share:
                found = group.model_dump()
                found["share"] *= sum(shares[code] for code in of_country.countries)
                found["hour"] = _on_grid(group.hour)
                if group.noise is not None:
                    found["noise"]["days"] = min(group.noise.days, MOST_NOISE_DAYS)
                yield found


def _banks(world: World) -> Iterator[dict[str, Any]]:
    for group in world.banks.groups:
        for closed in group.closed:
            hours = [hour for hour in range(24) if closed.holds(hour)]
            parts = [part_at(hour) for hour in hours]
            begins, ends = PARTS[max(range(len(PARTS)), key=parts.count)]
            # An equal share of attempts is declined by banks that are always closed then.
            yield {
                "share": round(group.share * closed.chance, 4),
                "closed": [{"from_hour": begins, "until_hour": ends}],
            }


def _on_grid(hour: int) -> int:
    """The last hour of the grid that is not after this one; the first of the day before it."""
    return max((each for each in GRID if each <= hour), default=GRID[0])
