"""What is counted of answers to messages, what is believed by it, and what a merchant is told of it."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.recovery.belief.differences import About
from services.worker.recovery.message_answers import (
    ANSWERED_WITHIN,
    ASSUMED,
    HALF_LIFE,
    NIGHT,
    NOTHING_LEARNED,
    Counts,
    Sent,
    Written,
    believed,
    read_counts,
    written_of,
)
from services.worker.recovery.message_differences import hours_told

NOW = datetime(2026, 9, 7, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def written(
    rate_at: dict[int, float], each: int = 400, *, whose: str = "m", kind: str = "payment_failed"
) -> list[Written]:
    """So many first messages at each of these hours, of which this share was answered."""
    return [
        Written(kind, 1, NOW - DAY, hour, number < rate * each, whose)
        for hour, rate in rate_at.items()
        for number in range(each)
    ]


def learned(*messages: Written, pool: Counts | None = None) -> tuple[float, ...]:
    return believed(pool, Counts.of(messages, NOW)).factors


# --- What a recovery's messages brought -------------------------------------------------------------------------------

LONG_AGO = NOW - 30 * DAY


def sent(*days: float) -> list[Sent]:
    return [Sent("payment_failed", LONG_AGO + day * DAY, 9) for day in days]


@pytest.mark.parametrize(
    ("days", "paid", "answered"),
    [
        ((0, 3, 7), 0.5, [True, False, False]),
        ((0, 3, 7), 4.0, [False, True, False]),
        ((0, 1, 7), 2.0, [False, True, False]),  # after the next one it is that one's
        ((0, 7), 3.5, [False, False]),  # later than 72 hours it is nobody's
        ((0, 3, 7), None, [False, False, False]),
    ],
)
def test_a_payment_is_the_answer_to_the_last_message_before_it(
    days: tuple[float, ...], paid: float | None, answered: list[bool]
) -> None:
    found = written_of(sent(*days), None if paid is None else LONG_AGO + paid * DAY, NOW, "m")
    assert [each.answered for each in found] == answered
    assert [each.number for each in found] == list(range(1, len(days) + 1))


def test_what_can_still_be_answered_does_not_count_whatever_came() -> None:
    just = [Sent("payment_failed", NOW - DAY, 9)]
    assert written_of(just, NOW - HOUR, NOW) == []
    assert written_of(just, NOW - HOUR, NOW + 3 * DAY) != []
    over = [Sent("payment_failed", NOW - ANSWERED_WITHIN, 9)]
    assert len(written_of(over, None, NOW)) == 1


# --- What is believed -------------------------------------------------------------------------------------------------


def test_hours_that_are_answered_more_are_found_and_the_others_stay_below() -> None:
    found = learned(*written({hour: 0.3 if hour in (17, 18, 19) else 0.2 for hour in range(7, 22)}))
    assert max(range(24), key=found.__getitem__) == 18
    assert found[18] > 1.2 * found[10]
    assert all(found[hour] < found[10] for hour in NIGHT - {6, 22})


def test_little_data_changes_little_and_none_nothing() -> None:
    assert believed(None, Counts.of([], NOW)).factors == pytest.approx(ASSUMED)
    lucky = learned(*written({9: 1.0, 14: 0.0}, each=3))
    assert max(abs(one - other) for one, other in zip(lucky, ASSUMED, strict=True)) < 0.2


def test_kinds_and_numbers_that_are_answered_more_say_nothing_of_their_hours() -> None:
    urgent = written({3: 0.6}, kind="action_required")
    usual = written(dict.fromkeys(range(8, 20), 0.2))
    found = learned(*urgent, *usual)
    assert found[3] == pytest.approx(ASSUMED[3], abs=0.05), "three in the morning is no better for it"
    later = [Written("payment_failed", 4, NOW - DAY, 12, number < 20) for number in range(400)]
    assert learned(*usual, *later)[12] == pytest.approx(learned(*usual)[12], abs=0.1)


def test_a_merchant_that_writes_by_night_only_does_not_learn_that_nights_are_as_good_as_days() -> None:
    found = learned(*written({2: 0.15, 3: 0.15}))
    assert found[3] < 0.85 < found[12]


def test_where_nights_are_as_good_that_is_learned() -> None:
    found = learned(*written(dict.fromkeys(range(24), 0.2)))
    assert min(found) > 0.9 * max(found)


def test_merchants_whose_customers_answer_more_say_nothing_of_their_hours() -> None:
    eager = written(dict.fromkeys(range(8, 12), 0.6), whose="eager")
    others = written(dict.fromkeys(range(12, 20), 0.1), whose="others")
    found = believed(Counts.of([*eager, *others], NOW)).factors
    assert found[9] == pytest.approx(found[16], abs=0.1)


def test_a_merchant_begins_with_what_the_pool_has_learned_and_its_own_say_more() -> None:
    pool = Counts.of(written({hour: 0.3 if hour in (9, 10) else 0.2 for hour in range(7, 22)}), NOW)
    assert believed(pool).factors[9] > 1.15 * believed(pool).factors[14]
    own = Counts.of(written({hour: 0.3 if hour in (19, 20) else 0.2 for hour in range(7, 22)}), NOW)
    both = believed(pool, own)
    assert both.factors[19] > both.factors[9]
    assert believed(pool).unsure[9] > both.unsure[9], "what others do leaves more open"


def test_old_messages_fade() -> None:
    fresh = Counts.of(written({9: 0.2}), NOW)
    old = Counts.of(written({9: 0.2}), NOW + HALF_LIFE)
    assert old.answered[9] == pytest.approx(fresh.answered[9] / 2)
    assert old.usual[9] == pytest.approx(fresh.usual[9] / 2, rel=0.1)


def test_hours_side_by_side_count_for_each_other_also_over_midnight() -> None:
    found = learned(*written({23: 0.4, 12: 0.1, 13: 0.1}))
    assert found[0] > ASSUMED[0]
    assert found[5] == pytest.approx(ASSUMED[5])


@given(
    st.lists(st.builds(Written, st.just("k"), st.integers(1, 6), st.just(NOW - DAY), st.integers(0, 23), st.booleans()))
)
def test_every_belief_is_a_number_of_each_hour_and_survives_being_kept(messages: list[Written]) -> None:
    counts = Counts.of(messages, NOW)
    found = believed(None, counts)
    assert len(found.factors) == len(found.unsure) == 24
    assert all(0 < each < 10 for each in found.factors)
    assert all(0 < each < 1 for each in found.unsure)
    kept = read_counts(counts.messages, counts.as_document())
    assert kept is not None
    assert believed(None, kept).factors == pytest.approx(found.factors, abs=1e-3)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"answered": [1.0] * 24},
        {"answered": [1.0] * 24, "usual": [1.0] * 23},
        {"answered": [1.0] * 24, "usual": [-1.0] * 24},
        {"answered": [1.0] * 24, "usual": [float("nan")] * 24},
        {"answered": [1.0] * 24, "usual": ["1"] * 24},
    ],
    ids=str,
)
def test_counts_that_are_none_are_not_believed(document: object) -> None:
    assert read_counts(9, document) is None


def test_what_was_learned_from_nothing_is_what_is_assumed() -> None:
    assert (NOTHING_LEARNED.factors, NOTHING_LEARNED.messages) == (ASSUMED, 0)


# --- What the merchant is told ----------------------------------------------------------------------------------------


def drawn(seed: int, evening: float, count: int = 1_500) -> list[Written]:
    """First messages at all hours, answered one in five; in the evening so many times as often."""
    random = Random(seed)  # noqa: S311 - a test has to be repeatable
    hours = [random.randrange(24) for _ in range(count)]
    return [
        Written("payment_failed", 1, NOW - DAY, hour, random.random() < 0.2 * (evening if hour in (17, 18, 19) else 1))
        for hour in hours
    ]


def test_hours_in_which_customers_clearly_answer_more_are_told() -> None:
    (one,) = hours_told(drawn(1, 2.0))
    assert one.about is About.MESSAGE_HOURS
    assert one.text.startswith("Your customers answer most between 17 and 20, by their clocks (")
    assert one.share > 1.5 * one.expected


def test_where_hours_do_not_matter_nothing_is_told() -> None:
    assert [seed for seed in range(60) if hours_told(drawn(seed, 1.0))] == []
    assert hours_told([]) == ()
    assert hours_told(written({9: 1.0, 14: 0.0}, each=20)) == (), "too few"


def test_urgent_messages_at_some_hour_are_no_reason_to_tell_of_it() -> None:
    urgent = written({3: 0.9}, each=200, kind="action_required")
    assert hours_told([*drawn(2, 1.0), *urgent]) == ()
