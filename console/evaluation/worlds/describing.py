"""Says in one line what is hard about a world."""

from collections.abc import Iterator
from typing import Final, assert_never

from console.evaluation.worlds.document import Balance, ByRest, Stay, World

MOST: Final = 400
_RHYTHMS_NAMED: Final = 3


def described(world: World) -> str:
    """The world's paydays, money, banks and changes, as far as they fit into a line; numbers are shares in percent."""
    text = "; ".join(_parts(world))
    return text if len(text) <= MOST else text[: MOST - 2] + " …"


def _parts(world: World) -> Iterator[str]:
    paid: dict[str, float] = {}
    for country in world.renewals.countries:
        groups = next(each.groups for each in world.wages.sets if not each.countries or country.code in each.countries)
        for group in groups:
            when = str(group.on)
            paid[when] = paid.get(when, 0) + country.share * group.share
    most = sorted(paid.items(), key=lambda item: -item[1])[:_RHYTHMS_NAMED]
    yield "paid " + ", ".join(f"{when} ({share:.0%})" for when, share in most)
    if world.wages.shift_days:
        yield f"all wages {world.wages.shift_days:+} days"
    match world.funds:
        case Stay(days=days):
            yield f"money stays {days:g} days"
        case Balance(days=days, median=median):
            yield f"balances of {median / 100:,.0f}, spent in {days:g} days"
        case _:
            assert_never(world.funds)
    for bank in world.banks.groups:
        for closed in bank.closed:
            days_ = " on weekends" if closed.weekdays else ""
            hours = f"{closed.from_hour:02} to {closed.until_hour:02} {'UTC' if closed.clock == 'utc' else 'local'}"
            yield f"{bank.share:.0%} of banks decline {closed.chance:.0%} from {hours}{days_}"
    if world.banks.outages:
        count = len(world.banks.outages)
        yield f"{count} outage{'s' if count > 1 else ''}"
    resting = sum(
        code.share * code.clears * way.share
        for code in world.causes.codes
        for way in code.ways
        if isinstance(way, ByRest)
    )
    if resting:
        yield f"rest clears {resting:.0%} of all failures"
    for each in world.drift:
        yield f"from {each.since} on wages {each.wages_days:+} days, banks {each.bank_hours:+} h"
