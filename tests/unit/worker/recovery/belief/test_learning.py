"""What recoveries teach: paydays, stays and hours that nobody knew; little from little; nothing from none."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from services.worker.recovery import Card, DeclineCause
from services.worker.recovery.belief import beliefs
from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.groups import REST, Group, Trait, Traits
from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.belief.learning import LEAST_OF_GROUP, Outcome, learn
from services.worker.recovery.belief.parts import BANKS, WAYS, Belief
from services.worker.recovery.belief.paydays import CONVENTIONS, RULES, variant
from services.worker.recovery.belief.planning import Limits, plan
from services.worker.recovery.belief.prior import prior
from shared.policy import AttemptTimes

FUNDS = DeclineCause.INSUFFICIENT_FUNDS
ZONES = {"DE": ZoneInfo("Europe/Berlin"), "JP": ZoneInfo("Asia/Tokyo")}
NOW = datetime(2026, 11, 1, tzinfo=UTC)
Accepts = Callable[[datetime], bool]


def tried(country: str, count: int, accepts: Accepts, *, cause: DeclineCause = FUNDS, seed: int = 1) -> list[Outcome]:
    """Recoveries of the months before NOW with an attempt a day at some hour; `accepts` is asked by local time."""
    random = Random(seed)  # noqa: S311 - repeatable
    return [Outcome(cause, Traits(country), *_days(country, random, accepts)) for _ in range(count)]


def _days(country: str, random: Random, accepts: Accepts) -> tuple[tuple[datetime, ...], datetime | None]:
    zone = ZONES[country]
    failed = NOW - timedelta(days=random.uniform(22, 120))
    declined = [failed]
    for day in range(1, 22):
        at = failed + timedelta(days=day, hours=random.uniform(-10, 10))
        if accepts(at.astimezone(zone)):
            return tuple(declined), at
        declined.append(at)
    return tuple(declined), None


def with_traits(outcomes: list[Outcome], *given: Traits) -> list[Outcome]:
    """The outcomes, whose payments have these traits in turn."""
    return [replace(each, traits=given[number % len(given)]) for number, each in enumerate(outcomes)]


def paid_on(day: int, *, for_hours: float = 40) -> Accepts:
    """Money comes in the morning of this day of the month."""

    def accepts(at: datetime) -> bool:
        paid = at.replace(day=day, hour=5, minute=0)
        return timedelta(0) <= at - paid < timedelta(hours=for_hours)

    return accepts


def payday_days(belief: Belief, *days: int) -> float:
    return sum(belief.paydays[f"day_{day}"] for day in days)


def shares(belief: Belief) -> Iterator[tuple[float, ...]]:
    yield from belief.kinds.values()
    yield from (tuple(belief.paydays.values()), belief.stays, belief.banks)


def test_a_payday_that_nobody_knew_is_learned_and_planned_for() -> None:
    learned = learn(tried("DE", 300, paid_on(12)), NOW)
    assert payday_days(prior("DE"), 11, 12) < 0.04
    assert payday_days(learned.everywhere, 11, 12) > 0.5
    failed = datetime(2026, 11, 3, 9, tzinfo=UTC)
    limits = Limits(timedelta(hours=20), failed + timedelta(days=21), 3, 0.01, AttemptTimes(), "DE")
    found = plan(learned.believed(FUNDS, Card(country="DE"), None, {}), [failed], limits)
    assert any(each.at.day in (12, 13) and each.chance > 0.4 for each in found)
    assert any(each.why == "customers are paid on the 12." for each in found)


def test_how_long_money_stays_is_learned() -> None:
    """From attempts in vain after a payday: when money goes after a success, nobody sees."""
    short, long = (learn(tried("DE", 400, paid_on(12, for_hours=hours)), NOW).everywhere for hours in (9, 200))
    assert sum(short.stays[:2]) > 0.5
    assert sum(long.stays[:2]) < 0.1


def test_the_hours_at_which_banks_decline_are_learned_by_the_local_clock_from_every_cause() -> None:
    nights = BANKS.index((20, 12))
    seen = [
        each
        for country in ZONES
        for cause in (DeclineCause.TRY_LATER, DeclineCause.DO_NOT_HONOR)
        for each in tried(country, 250, lambda at: 8 <= at.hour < 20, cause=cause, seed=len(country))
    ]
    learned = learn(seen, NOW).everywhere
    around = [
        number
        for number, bank in enumerate(BANKS)
        if isinstance(bank, tuple) and (bank[0] + bank[1] / 2) % 24 in range(5)
    ]
    assert sum(learned.banks[number] for number in around) > 0.5
    assert sum(prior(None).banks[number] for number in around) < 0.1
    assert learned.banks[nights] > 5 * prior(None).banks[nights]


def test_little_changes_little_and_nothing_changes_nothing() -> None:
    few = learn(tried("DE", 4, paid_on(12)), NOW).everywhere
    assert payday_days(few, 11, 12) < 0.25
    before = prior("DE")
    none = learn([], NOW, Learned(Group(before))).everywhere
    for one, other in zip(shares(none), shares(before), strict=True):
        assert sorted(each for each in one if each) == pytest.approx(sorted(each for each in other if each))


def test_what_has_changed_is_forgotten() -> None:
    old = [
        Outcome(
            FUNDS,
            Traits("DE"),
            tuple(at - timedelta(days=365 * 2) for at in each.declined),
            each.accepted_at and each.accepted_at - timedelta(days=365 * 2),
        )
        for each in tried("DE", 200, paid_on(5))
    ]
    learned = learn([*old, *tried("DE", 200, paid_on(20))], NOW).everywhere
    assert payday_days(learned, 19, 20) > 3 * payday_days(learned, 4, 5)


def test_countries_with_enough_recoveries_are_learned_about_by_themselves() -> None:
    seen = [*tried("DE", LEAST_OF_GROUP + 50, paid_on(5)), *tried("JP", LEAST_OF_GROUP + 50, paid_on(22))]
    learned = learn(seen, NOW)
    assert learned.root.by is Trait.COUNTRY
    assert learned.root.parts.keys() == {"DE", "JP", REST}
    assert payday_days(learned.of(Traits("DE")), 4, 5) > 2 * payday_days(learned.of(Traits("DE")), 21, 22)
    assert payday_days(learned.of(Traits("JP")), 21, 22) > 2 * payday_days(learned.of(Traits("JP")), 4, 5)
    assert learned.of(Traits("FR")) == learned.everywhere
    few = learn([*seen[: LEAST_OF_GROUP - 1], *seen[-LEAST_OF_GROUP:]], NOW)
    assert few.root.parts.keys() == {"JP", REST}
    assert few.of(Traits("DE")) == few.everywhere


def test_every_part_stays_a_whole_and_nothing_is_ruled_out() -> None:
    outcomes = [*tried("DE", 40, paid_on(12)), *tried("JP", 40, lambda at: at.hour > 12, cause=DeclineCause.TRY_LATER)]
    learned = learn(outcomes, NOW)
    for part in shares(learned.everywhere):
        assert sum(part) == pytest.approx(1)
        assert min(part) >= 0
    before = prior("DE")
    assert all(learned.everywhere.paydays[name] > 0 for name in before.paydays)
    assert all(len(part) == len(WAYS) for part in learned.everywhere.kinds.values())


def test_the_order_in_which_recoveries_are_given_does_not_matter() -> None:
    outcomes = tried("DE", 60, paid_on(12))
    assert learn(outcomes, NOW) == learn(outcomes[::-1], NOW)


def test_an_unknown_cause_is_learned_as_an_unknown_one() -> None:
    learned = learn(tried("DE", 60, lambda _: True, cause=DeclineCause.LOST_OR_STOLEN), NOW).everywhere
    assert learned.kinds[DeclineCause.UNKNOWN][0] < prior("DE").kinds[DeclineCause.UNKNOWN][0] / 2


def test_what_the_merchant_knows_comes_before_what_was_learned() -> None:
    learned = learn(tried("DE", 200, paid_on(12)), NOW)
    known = dict(learned.of(Traits("DE")).weights(FUNDS, {"day_7": 1.0}, credit=False).ways)
    assert not any("day_12" in way for way in known)
    assert sum(share for way, share in known.items() if "day_7" in way) == pytest.approx(
        learned.everywhere.kinds[FUNDS][WAYS.index("wages")]
    )


@pytest.mark.parametrize(("convention", "paid"), [("before", date(2026, 10, 9)), ("after", date(2026, 10, 12))])
def test_when_wages_come_whose_day_is_a_weekend_is_learned(convention: str, paid: date) -> None:
    """The 10th of October is a Saturday; so are others."""
    moved = CONVENTIONS[convention]

    def accepts(at: datetime) -> bool:
        day = moved(at.date().replace(day=10), "DE")
        return timedelta(0) <= at - datetime.combine(day, time(5), at.tzinfo) < timedelta(hours=60)

    learned = learn(tried("DE", 400, accepts), NOW).everywhere
    assert learned.conventions[list(CONVENTIONS).index(convention)] > 0.7
    assert RULES[variant("day_10", convention)].is_payday(paid, "DE")


def test_a_failure_that_no_attempt_followed_says_next_to_nothing() -> None:
    failed = datetime.combine(date(2026, 10, 14), time(9), UTC)
    learned = learn([Outcome(FUNDS, Traits("DE"), (failed,))] * 50, NOW).everywhere
    assert learned.kinds[FUNDS][0] == pytest.approx(prior("DE").kinds[FUNDS][0], abs=0.12)


def test_stories_are_made_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beliefs, "_kept", Kept(2))
    one, other = (Learned(Group(prior(country))) for country in ("DE", "US"))
    first = one.believed(FUNDS, Card(country="DE"), None, {})
    assert one.believed(FUNDS, Card(country="DE"), None, {}) is first
    assert other.believed(FUNDS, Card(country="DE"), None, {}) is not first, "another belief, another story"
    assert one.believed(FUNDS, Card(country="DE"), None, {}) is first
    one.believed(FUNDS, Card(country="FR"), None, {})
    assert len(beliefs._kept) == 2
    assert one.believed(FUNDS, Card(country="DE"), None, {}) is not first, "what was made first is forgotten first"
