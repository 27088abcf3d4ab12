"""The likelihood of another attempt: hand-computed cases, what history can and cannot say, and a known truth."""

from datetime import UTC, datetime
from itertools import pairwise
from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.evaluation.backtest.clearing import (
    FIRST_RATES,
    GRID,
    PAYDAY,
    SPANS,
    Model,
    Seen,
    exposure,
    fit,
    grid_place,
    payday_between,
)
from services.worker.recovery import DeclineCause

CAUSE = DeclineCause.DO_NOT_HONOR


def place(hours: int) -> int:
    return grid_place(hours)


def model(rates: tuple[float, ...]) -> Model:
    return Model(dict.fromkeys(DeclineCause, rates), dict.fromkeys(DeclineCause, (0.01,) * len(SPANS)), 0.5)


def test_exposure_is_the_days_in_each_span_and_adds_up() -> None:
    assert exposure(place(0), place(72), False) == ((0, 0.25), (1, 0.75), (2, 2.0))
    assert exposure(place(24), place(48), False) == ((2, 1.0),)
    assert exposure(place(48), place(96), True) == ((2, 1.0), (3, 1.0), (PAYDAY, 1.0))
    assert exposure(place(168), place(192), True) == ((4, 1.0), (PAYDAY + 1, 1.0))


def test_attempts_at_the_same_time_are_hardly_exposed_to_anything() -> None:
    ((span, days),) = exposure(place(48), place(48), False)
    assert span == 2
    assert days == pytest.approx(0.25 / 24)


def test_the_chance_of_two_attempts_is_the_chance_of_the_last_one_alone() -> None:
    """Trying more often between two times gains nothing by itself."""
    known = model(tuple(0.1 + index / 50 for index in range(len(FIRST_RATES))))
    once = 1 - known.chance(CAUSE, exposure(place(0), place(336), False))
    twice = (1 - known.chance(CAUSE, exposure(place(0), place(120), False))) * (
        1 - known.chance(CAUSE, exposure(place(120), place(336), False))
    )
    assert once == pytest.approx(twice)


def test_by_hand_half_of_many_clear_in_a_day() -> None:
    seen = Seen()
    cell = (CAUSE, place(24), place(48), False)
    seen.yes[cell], seen.no[cell] = 50_000, 50_000
    # Half is 1 - exp(-rate), so the rate is log 2 a day.
    assert fit(seen).bank[CAUSE][2] == pytest.approx(log(2), rel=0.01)


def test_what_came_between_two_attempts_is_dealt_out_by_the_days() -> None:
    """Nobody sees when it cleared: two attempts a week apart alone give both spans between them the same rate."""
    seen = Seen()
    cell = (CAUSE, place(24), place(168), False)
    seen.yes[cell], seen.no[cell] = 30_000, 70_000
    rates = fit(seen).bank[CAUSE]
    assert rates[2] == pytest.approx(rates[3], rel=0.1)
    assert exp(-(2 * rates[2] + 4 * rates[3])) == pytest.approx(0.7, abs=0.005)


def test_without_data_the_guess_is_kept_and_with_little_hardly_changed() -> None:
    assert fit(Seen()).bank[CAUSE] == pytest.approx(FIRST_RATES)
    seen = Seen()
    seen.yes[CAUSE, place(0), place(6), False] = 1
    rate = fit(seen).bank[CAUSE][0]
    assert FIRST_RATES[0] < rate < 1.0


def test_past_the_end_of_the_ladder_the_rate_fades() -> None:
    seen = Seen()
    for from_, to in ((0, 24), (24, 72), (72, 168)):
        seen.yes[CAUSE, place(from_), place(to), False] = 100
        seen.no[CAUSE, place(from_), place(to), False] = 400
    rates = fit(seen).bank[CAUSE]
    assert rates[4] == pytest.approx(rates[3] / 2)
    assert rates[6] < rates[5] < rates[4]


def test_a_known_truth_is_found_again_through_censoring() -> None:
    """Rates of 0.2 a day in the first week and 0.05 later, looked at by eight attempts each."""
    random, seen = Random(3), Seen()  # noqa: S311 - a test has to be repeatable
    hours = [0, 24, 48, 96, 168, 216, 288, 336]
    for _ in range(20_000):
        for before, now in pairwise(hours):
            rate = 0.2 if now <= 168 else 0.05
            cleared = random.random() > exp(-rate * (now - before) / 24)
            cell = (CAUSE, place(before), place(now), False)
            (seen.yes if cleared else seen.no)[cell] += 1
            if cleared:
                break
    rates = fit(seen).bank[CAUSE]
    assert rates[2:5] == pytest.approx((0.2, 0.2, 0.05), rel=0.06)


def test_customers_rates_are_payments_over_days() -> None:
    seen = Seen()
    for _ in range(1_000):
        seen.watch(CAUSE, 24, paid=False)
    for _ in range(1_000):
        seen.watch(CAUSE, 12, paid=True)
    fitted = fit(seen)
    # Watched in the second span (6 to 24 hours): 1000 whole, 1000 for 6 hours; all payments are in it.
    assert fitted.customer[CAUSE][1] == pytest.approx(1_000 / (750 + 250), rel=0.02)
    assert fitted.nobody_paid(CAUSE, 6, 24) == pytest.approx(exp(-0.75), rel=0.02)
    assert fitted.nobody_paid(CAUSE, 24, 24) == 1


def test_the_watched_days_are_all_days() -> None:
    seen = Seen()
    seen.watch(CAUSE, 400, paid=False)
    assert sum(seen.watched.values()) == pytest.approx(400 / 24)


def test_what_is_added_up_twice_counts_twice() -> None:
    seen, twice = Seen(), Seen()
    seen.yes[CAUSE, 0, 3, False] = 2
    seen.watch(CAUSE, 30, paid=True)
    twice.add(seen, 2)
    assert twice.yes[CAUSE, 0, 3, False] == 4
    assert twice.paid == {(CAUSE, 2): 2}
    assert sum(twice.watched.values()) == pytest.approx(60 / 24)


def unix(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]  # the parts of a time


@pytest.mark.parametrize(
    ("after", "at", "expected"),
    [
        ((2026, 1, 5, 12), (2026, 1, 8, 23), False),  # Monday to Thursday
        ((2026, 1, 5, 12), (2026, 1, 9, 12), True),  # Friday the 9th
        ((2026, 1, 9, 11), (2026, 1, 9, 12), False),  # its morning had come before the last attempt
        ((2026, 1, 5, 12), (2026, 1, 12, 12), False),  # Friday is three days ago
        ((2026, 1, 13, 12), (2026, 1, 15, 9), False),  # the 15th, 4 in the morning in New York
        ((2026, 1, 13, 12), (2026, 1, 15, 11), True),
    ],
)
def test_a_payday_is_fresh_for_two_days(after: tuple[int, ...], at: tuple[int, ...], expected: bool) -> None:
    assert payday_between(unix(*after), unix(*at), "US") is expected


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(DeclineCause), st.integers(0, 20), st.integers(0, 20), st.booleans()),
        st.tuples(st.integers(0, 50), st.integers(0, 50)),
        max_size=20,
    ),
    st.integers(0, len(GRID) - 1),
    st.integers(0, len(GRID) - 1),
)
def test_whatever_was_seen_a_chance_is_one(
    cells: dict[tuple[DeclineCause, int, int, bool], tuple[int, int]], from_: int, to: int
) -> None:
    seen = Seen()
    for (cause, a, b, payday), (yes, no) in cells.items():
        key = (cause, min(a, b), max(a, b), payday)
        seen.yes[key] += yes
        seen.no[key] += no
    fitted = fit(seen)
    for cause in DeclineCause:
        assert 0 <= fitted.chance(cause, exposure(min(from_, to), max(from_, to), True)) <= 1
        assert all(rate > 0 for rate in (*fitted.bank[cause], *fitted.customer[cause]))
