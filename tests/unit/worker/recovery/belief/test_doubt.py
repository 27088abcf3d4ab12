"""What was learned is taken with doubt: times beside those that were tried are tried as well, and learned about."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.recovery import Card
from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.doubt import EXPLORES, PLANS, TELLS, doubted
from services.worker.recovery.belief.groups import Group, Traits
from services.worker.recovery.belief.learning import Outcome, learn
from services.worker.recovery.belief.parts import BANKS, STAYS, Belief
from services.worker.recovery.belief.paydays import RULES
from services.worker.recovery.belief.planning import Limits, plan
from services.worker.recovery.belief.prior import prior
from services.worker.recovery.belief.stories import Stories, how_many
from shared.policy import WEEKDAYS, AttemptTimes
from shared.policy.paydays import PAIRS, PAYDAYS
from tests.unit.worker.recovery.belief.test_learning import FUNDS, NOW

GERMAN = prior("DE")


def paid(**shares: float) -> Belief:
    return replace(GERMAN, paydays=shares)


def beside(payday: str) -> dict[str, float]:
    """Where the belief goes, with all doubt, of those who are sure of a payday."""
    return {name: share for name, share in doubted(paid(**{payday: 1.0}), 1.0).paydays.items() if share}


def whole(weights: list[float]) -> tuple[float, ...]:
    return tuple(each / sum(weights) for each in weights)


def shares(count: int) -> st.SearchStrategy[tuple[float, ...]]:
    some = st.one_of(st.just(0.0), st.floats(0.001, 1))
    return st.lists(some, min_size=count, max_size=count).filter(any).map(whole)


doubts = st.floats(0, 1)
beliefs = st.builds(
    lambda paydays, stays, banks: replace(GERMAN, paydays=paydays, stays=stays, banks=banks),
    st.dictionaries(st.sampled_from(PAYDAYS), st.floats(0.001, 1), min_size=1).map(
        lambda each: dict(zip(each, whole(list(each.values())), strict=True))
    ),
    shares(len(STAYS)),
    shares(len(BANKS)),
)


@settings(max_examples=200)
@given(beliefs, doubts)
def test_every_part_still_adds_up_to_one_and_what_does_not_have_neighbours_stays(belief: Belief, doubt: float) -> None:
    found = doubted(belief, doubt)
    for part in (tuple(found.paydays.values()), found.stays, found.banks):
        assert sum(part) == pytest.approx(1)
        assert min(part) >= 0
    assert (found.kinds, found.conventions) == (belief.kinds, belief.conventions)
    assert len(found.stays) == len(STAYS)
    assert found.paydays.keys() == set(PAYDAYS)


@settings(max_examples=100)
@given(beliefs)
def test_without_doubt_the_belief_is_the_same(belief: Belief) -> None:
    found = doubted(belief, 0.0)
    assert {name: share for name, share in found.paydays.items() if share} == belief.paydays
    assert (found.stays, found.banks) == (belief.stays, belief.banks)


@settings(max_examples=100)
@given(st.sampled_from(sorted(set(PAYDAYS) - {f"days_{one}_{other}" for one, other in PAIRS})), doubts, doubts)
def test_the_more_doubt_the_less_is_left_of_a_payday_and_the_more_have_those_beside_it(
    payday: str, one: float, other: float
) -> None:
    less, more = (doubted(paid(**{payday: 1.0}), each).paydays for each in sorted((one, other)))
    assert more[payday] <= less[payday]
    others = [name for name in beside(payday) if name != payday]
    assert others
    assert all(more[name] >= less[name] for name in others)
    if abs(one - other) > 0.01:
        assert more[payday] < less[payday]
        assert all(more[name] > less[name] for name in others)


@settings(max_examples=100)
@given(beliefs, doubts)
def test_doubt_is_a_way_between_the_belief_and_the_one_that_is_all_spread_out(belief: Belief, doubt: float) -> None:
    some, none, all_of_it = (doubted(belief, each) for each in (doubt, 0.0, 1.0))
    for name in PAYDAYS:
        between = (1 - doubt) * none.paydays[name] + doubt * all_of_it.paydays[name]
        assert some.paydays[name] == pytest.approx(between)
    for part, one, other in ((some.stays, none.stays, all_of_it.stays), (some.banks, none.banks, all_of_it.banks)):
        assert part == pytest.approx([(1 - doubt) * a + doubt * b for a, b in zip(one, other, strict=True)])


# --- Which paydays are beside each other ------------------------------------------------------------------------------


@pytest.mark.parametrize("day", range(1, 32))
def test_days_of_the_month_go_round(day: int) -> None:
    found = beside(f"day_{day}")
    around = [f"day_{(day - 1 + off) % 31 + 1}" for off in (0, 1, -1, 2, -2, 3, -3)]
    assert set(found) == set(around)
    by_distance = [found[name] for name in around]
    assert by_distance == sorted(by_distance, reverse=True), "the nearer, the more"
    assert found[around[1]] == found[around[2]] > found[around[3]] == found[around[4]] > found[around[5]]


def test_the_31st_is_beside_the_1st() -> None:
    assert beside("day_31")["day_1"] == beside("day_31")["day_30"] > beside("day_31")["day_2"] > 0
    assert beside("day_1")["day_31"] == beside("day_1")["day_2"]


@pytest.mark.parametrize("kind", ["weekly", "last"])
def test_weekdays_go_round(kind: str) -> None:
    for place, weekday in enumerate(WEEKDAYS):
        found = beside(f"{kind}_{weekday}")
        assert set(found) == {f"{kind}_{each}" for each in WEEKDAYS}
        for off in (1, -1):
            assert found[f"{kind}_{WEEKDAYS[(place + off) % 7]}"] == pytest.approx(0.2)


@pytest.mark.parametrize("week", [0, 1])
@pytest.mark.parametrize("weekday", WEEKDAYS)
def test_beside_a_payday_of_every_other_week_are_the_days_around_it_and_not_those_of_the_week_between(
    weekday: str, week: int
) -> None:
    payday = f"biweekly_{weekday}_{week}"
    on = next(day for day in (date(2026, 9, 1) + timedelta(days=n) for n in range(14)) if is_on(payday, day))
    for off, share in ((0, 0.4), (1, 0.2), (-1, 0.2), (2, 0.07), (-2, 0.07), (3, 0.03), (-3, 0.03)):
        name = next(each for each in PAYDAYS if each.startswith("biweekly") and is_on(each, on + timedelta(days=off)))
        assert beside(payday)[name] == pytest.approx(share), (off, name)


def is_on(payday: str, day: date) -> bool:
    return RULES[payday].is_payday(day, "DE")


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_beside_a_business_day_are_those_that_are_known(number: int) -> None:
    found = beside(f"business_day_{number}")
    known = {each for each in (1, 2, 3, 5) if abs(each - number) <= 3}
    assert set(found) == {f"business_day_{each}" for each in known}
    assert found[f"business_day_{number}"] == max(found.values())


def test_the_last_business_day_is_beside_the_last_days_of_the_month_and_the_first() -> None:
    found = beside("last_business_day")
    assert set(found) == {"last_business_day", *(f"day_{day}" for day in (28, 29, 30, 31, 1, 2))}
    assert found["last_business_day"] == pytest.approx(0.4)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_of_days_has_none_beside_it(pair: tuple[int, int]) -> None:
    assert beside(f"days_{pair[0]}_{pair[1]}") == {f"days_{pair[0]}_{pair[1]}": 1.0}


def test_every_payday_has_most_of_what_is_beside_it_for_itself() -> None:
    for name in PAYDAYS:
        found = beside(name)
        assert found[name] == max(found.values())
        kind = re.sub(r"_.*", "", name)
        assert all(other.startswith(kind) or name == "last_business_day" for other in found)


# --- Stays and banks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(len(STAYS)))
def test_a_stay_gives_to_the_shorter_and_to_the_longer_one(place: int) -> None:
    sure = replace(GERMAN, stays=tuple(float(each == place) for each in range(len(STAYS))))
    found = doubted(sure, 1.0).stays
    expected = {place: 0.5}
    for other in (max(0, place - 1), min(len(STAYS) - 1, place + 1)):
        expected[other] = expected.get(other, 0.0) + 0.25
    assert {each: share for each, share in enumerate(found) if share} == pytest.approx(expected)


def test_of_banks_half_of_the_doubt_is_what_was_believed_before() -> None:
    sure = replace(GERMAN, banks=(0.0, 1.0, *[0.0] * (len(BANKS) - 2)))
    found = doubted(sure, 1.0).banks
    assert found[1] == pytest.approx(0.5 + GERMAN.banks[1] / 2)
    assert found[0] == pytest.approx(GERMAN.banks[0] / 2)
    assert doubted(sure, 0.5).banks[1] == pytest.approx((1 + found[1]) / 2)


def test_plans_are_made_with_doubt_and_those_that_explore_with_all_of_it() -> None:
    learned = Learned(Group(paid(day_14=1.0)))
    assert 0 < TELLS < PLANS < EXPLORES == 1
    assert learned.of(Traits()).paydays == {"day_14": 1.0}, "what was learned is kept as it was"
    for doubt in (TELLS, PLANS, EXPLORES):
        assert learned.doubted(Traits(), doubt) == doubted(learned.everywhere, doubt)
    card = Card(country="DE")
    plain, exploring = (learned.believed(FUNDS, card, None, {}, each) for each in (PLANS, EXPLORES))
    assert plain is not exploring
    assert learned.believed(FUNDS, card, None, {}, EXPLORES) is exploring
    day_before = datetime(2026, 10, 13, 16, tzinfo=UTC)
    failed = datetime(2026, 10, 2, 8, tzinfo=UTC)
    some, more = (how_many(each.accepting(day_before, failed)) for each in (plain, exploring))
    assert 0 < some < more, "somebody is paid on the day before"


# --- Learning alone is stuck, and doubt frees it ----------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")
FAILED = datetime(2026, 10, 2, 8, tzinfo=UTC)
"""The 14th and the 15th of October are a Wednesday and a Thursday."""
LIMITS = Limits(timedelta(hours=16), FAILED + timedelta(days=21), 3, 0.01, AttemptTimes(), "DE")
AN_HOUR_OF_THEIRS = 6


def money_of_the_14th(random: Random) -> Callable[[datetime], bool]:
    """Paid on the 14th in the morning; for two of three the money is gone before the 15th."""
    hours = random.choice((14, 14, 40))

    def accepts(at: datetime) -> bool:
        local = at.astimezone(BERLIN)
        since = local - local.replace(day=14, hour=5, minute=0)
        return timedelta(0) <= since < timedelta(hours=hours)

    return accepts


def tried_on(days: Sequence[int], count: int, seed: int) -> list[Outcome]:
    """Recoveries of the last months that were tried on these days of the month only, in the morning."""
    random = Random(seed)  # noqa: S311 - repeatable
    found = []
    for number in range(count):
        failed = datetime(2026, 6 + number % 4, 1 + number % 9, 8, tzinfo=UTC)
        accepts, declined, accepted_at = money_of_the_14th(random), [failed], None
        for day in days:
            at = failed.replace(day=day, hour=AN_HOUR_OF_THEIRS + number % 3)
            if accepts(at):
                accepted_at = at
                break
            declined.append(at)
        found.append(Outcome(FUNDS, Traits("DE"), tuple(declined), accepted_at))
    return found


def planned_days(belief: Belief) -> list[int]:
    stories = Stories(belief.weights(FUNDS, {}, credit=False), "DE")
    return [each.at.astimezone(BERLIN).day for each in plan(stories, [FAILED], LIMITS)]


def test_learning_alone_is_stuck_with_the_15th_and_doubt_finds_the_14th() -> None:
    """Nothing says that money is there on the 14th, because nobody tried: the plans that were learned try the 15th
    again, which teaches the 15th."""
    belief = learn(tried_on([11, 15, 19], 400, 1), NOW).everywhere
    stuck = planned_days(belief)
    assert 15 in stuck
    assert 14 not in stuck
    again = learn(tried_on(sorted(stuck), 400, 2), NOW).everywhere
    assert 14 not in planned_days(again), "and so it goes on"
    assert 14 in planned_days(doubted(belief, PLANS))
    assert 14 in planned_days(doubted(belief, 1.0))


def test_what_doubt_has_found_is_learned() -> None:
    before = learn(tried_on([11, 15, 19], 400, 1), NOW).everywhere
    days = sorted(planned_days(doubted(before, PLANS)))
    after = learn(tried_on(days, 400, 2), NOW).everywhere
    assert after.paydays["day_14"] > 3 * before.paydays["day_14"]
    assert 14 in planned_days(after), "now also without doubt"
    assert [len(days), len(planned_days(after))] == [3, 3]
    for earlier, later in pairwise(days):
        assert earlier < later
