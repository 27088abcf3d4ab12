"""The figures of calibration: by hand, by their definitions, and for a forecaster that is right."""

from math import comb
from pathlib import Path
from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.calibration.endpoints import shown
from services.ledger.calibration.measure import (
    BINS,
    Agreement,
    Bin,
    agreement,
    calibration_error,
    error_by_chance,
    told,
)
from services.ledger.reports.lift import ENOUGH, wilson

RECOVERY = Path(__file__).parents[3] / "docs" / "recovery.md"

bins = st.integers(0, 500).flatmap(
    lambda n: st.builds(Bin, st.just(n), st.floats(0, 1).map(lambda share: n * share), st.integers(0, n))
)
ten = st.lists(bins, min_size=BINS, max_size=BINS)


def cell(
    number: int, attempts: int, expected: float, succeeded: int, open_: int = 0, refused: int = 0
) -> dict[str, object]:
    """A row as SQL gives it."""
    return {
        "group": "unknown",
        "bin": number,
        "attempts": attempts,
        "expected": expected,
        "succeeded": succeeded,
        "without_outcome": open_,
        "refused": refused,
    }


def test_an_error_by_hand() -> None:
    # 40 of 100 where 0.30 was predicted, 45 of 50 where 0.86 was, 0 of 50 where 0.04 was: the deviations are 0.10, 0.04
    # and 0.04, their mean over the attempts (10 + 2 + 2) / 200.
    some = [Bin(100, 30.0, 40), Bin(50, 43.0, 45), Bin(), Bin(50, 2.0, 0)]
    assert calibration_error(some) == pytest.approx(0.07)
    # The means hide it: 75 expected, 85 succeeded.
    assert calibration_error([sum(some, Bin())]) == pytest.approx(0.05)
    # Opposite deviations of two bins do not cancel each other.
    assert calibration_error([Bin(10, 8.0, 6), Bin(10, 2.0, 4)]) == pytest.approx(0.2)


def test_the_worst_error_is_one_and_the_best_is_none() -> None:
    assert calibration_error([Bin(7, 7.0, 0)]) == 1
    assert calibration_error([Bin(7, 0.0, 7)]) == 1
    assert calibration_error([Bin(4, 1.0, 1), Bin(4, 3.0, 3)]) == 0
    assert calibration_error([Bin()] * BINS) is None
    assert error_by_chance([Bin()] * BINS) is None


@given(ten)
def test_the_error_is_a_share_and_no_less_than_that_of_the_means(some: list[Bin]) -> None:
    error = calibration_error(some)
    whole = sum(some, Bin())
    if error is None:
        assert whole.attempts == 0
        return
    assert whole.predicted is not None
    assert whole.observed is not None
    assert -1e-12 <= error <= 1 + 1e-12
    assert error >= abs(whole.predicted - whole.observed) - 1e-9


@given(ten)
def test_the_bins_add_up_to_the_whole(some: list[Bin]) -> None:
    cells = [cell(n, each.attempts, each.expected, each.succeeded, n, 2) for n, each in enumerate(some)]
    found = shown(cells)
    assert len(found["bins"]) == BINS
    assert sum(each["attempts"] for each in found["bins"]) == found["attempts"] == sum(b.attempts for b in some)
    assert sum(each["succeeded"] for each in found["bins"]) == found["succeeded"]
    assert (found["without_outcome"], found["refused"]) == (45, 20)
    of_bins = sum(each["attempts"] * (each["predicted"] or 0) for each in found["bins"])
    assert of_bins == pytest.approx(found["attempts"] * (found["predicted"] or 0), abs=0.01)
    for number, each in enumerate(found["bins"]):
        assert (each["at_least"], each["below"]) == (number / 10, (number + 1) / 10)
        assert (each["predicted"] is None) == (each["attempts"] == 0) == (each["low"] is None)
        if each["attempts"]:
            assert 0 <= each["low"] <= each["observed"] <= each["high"] <= 1


def test_cells_of_one_bin_and_several_groups_are_one_bin() -> None:
    found = shown([cell(3, 10, 3.5, 4), cell(3, 30, 10.5, 9)])
    (only,) = (each for each in found["bins"] if each["attempts"])
    assert (only["at_least"], only["attempts"], only["succeeded"], only["predicted"]) == (0.3, 40, 13, 0.35)
    low, high = wilson(13 / 40, 40)
    assert (only["low"], only["high"]) == (round(low, 6), round(high, 6))


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (2, 0.1), (7, 0.3), (10, 0.5), (40, 0.05), (200, 0.41), (25, 0.96)])
def test_what_chance_alone_makes_is_the_mean_deviation_over_every_outcome(n: int, p: float) -> None:
    by_hand = sum(comb(n, k) * p**k * (1 - p) ** (n - k) * abs(k - n * p) for k in range(n + 1))
    found = error_by_chance([Bin(n, n * p, 0)])
    assert found is not None
    assert found.mean == pytest.approx(by_hand / n)
    # Each bin counts by its attempts, whatever succeeded.
    mixed = [Bin(n, n * p, n), Bin(3, 0.0, 1), Bin(2, 2.0, 1)]
    of_all = error_by_chance(mixed)
    assert of_all is not None
    assert of_all.mean == pytest.approx(by_hand / (n + 5))
    # The variance of |K - np| is that of K less the square of its mean.
    squares = sum(comb(n, k) * p**k * (1 - p) ** (n - k) * (k - n * p) ** 2 for k in range(n + 1))
    limit = by_hand / n + 1.96 * (squares - by_hand**2) ** 0.5 / n
    assert found.limit == pytest.approx(min(1.0, limit), abs=1e-9)


def test_a_forecaster_that_is_right_has_the_error_of_chance_and_is_hardly_ever_blamed() -> None:
    random = Random(5)  # noqa: S311 - the same draws in every run
    errors, means, above, verdicts = [], [], 0, []
    for _ in range(600):
        places = [Bin()] * BINS
        for _ in range(250):
            chance = random.betavariate(1, 3)
            places[min(9, int(chance * 10))] += Bin(1, chance, random.random() < chance)
        error, by_chance = calibration_error(places), error_by_chance(places)
        assert error is not None
        assert by_chance is not None
        errors.append(error)
        means.append(by_chance.mean)
        above += error > by_chance.limit
        verdicts.append(agreement(places))
    assert mean(errors) == pytest.approx(mean(means), rel=0.05)
    assert mean(means) > 0.03  # 250 attempts cannot show less
    assert 0.005 < above / 600 < 0.05
    assert verdicts.count(Agreement.AS_PREDICTED) > 0.9 * 600


def test_the_verdict_is_that_of_the_interval() -> None:
    # Wilson's interval of 39 of 100 is 0.3000 to 0.4883.
    assert agreement([Bin(100, 41.0, 39)]) is Agreement.AS_PREDICTED
    assert agreement([Bin(100, 30.1, 39)]) is Agreement.AS_PREDICTED
    assert agreement([Bin(100, 29.9, 39)]) is Agreement.MORE_THAN_PREDICTED
    assert agreement([Bin(100, 48.7, 39)]) is Agreement.AS_PREDICTED
    assert agreement([Bin(100, 48.9, 39)]) is Agreement.LESS_THAN_PREDICTED
    assert agreement([Bin(ENOUGH - 1, 0.0, ENOUGH - 1)]) is Agreement.NOT_ENOUGH_DATA
    assert agreement([Bin(ENOUGH, 0.0, ENOUGH)]) is Agreement.MORE_THAN_PREDICTED
    assert agreement([Bin()]) is Agreement.NOT_ENOUGH_DATA


def test_who_is_right_only_on_average_is_told_so() -> None:
    assert agreement([Bin(100, 10.0, 30), Bin(100, 50.0, 30)]) is Agreement.RIGHT_ON_AVERAGE
    assert agreement([Bin(100, 27.0, 30), Bin(100, 33.0, 30)]) is Agreement.AS_PREDICTED
    # Both bins off in one direction, and the whole within its interval: nothing cancels out.
    assert agreement([Bin(50, 0.5, 1), Bin(50, 25.0, 33)]) is Agreement.AS_PREDICTED
    # Where chances are 0 and 1, chance makes no error at all.
    assert agreement([Bin(20, 0.0, 1), Bin(20, 20.0, 19)]) is Agreement.RIGHT_ON_AVERAGE
    assert agreement([Bin(20, 0.0, 0), Bin(20, 20.0, 20)]) is Agreement.AS_PREDICTED


@pytest.mark.parametrize(
    ("whole", "text"),
    [
        (Bin(600, 246.0, 234), "predicted 41.0%, succeeded 39.0% (35.2% to 43.0%): as predicted"),
        (Bin(600, 300.0, 234), "predicted 50.0%, succeeded 39.0% (35.2% to 43.0%): less often than predicted"),
        (Bin(600, 60.0, 234), "predicted 10.0%, succeeded 39.0% (35.2% to 43.0%): more often than predicted"),
        (Bin(4, 1.0, 2), "predicted 25.0%, succeeded 50.0% (15.0% to 85.0%): too few to tell, fewer than 30 attempts"),
        (Bin(), "no attempt whose outcome is known was predicted"),
    ],
)
def test_it_is_told_in_one_line(whole: Bin, text: str) -> None:
    assert told(whole, agreement([whole])) == text


def test_right_on_average_is_told_with_what_is_wrong() -> None:
    whole = Bin(200, 60.0, 60)
    said = told(whole, Agreement.RIGHT_ON_AVERAGE)
    assert said.endswith(": right on average, but too high for some attempts and too low for others")


def test_the_line_in_the_document_is_what_the_report_says() -> None:
    (line,) = (each.strip() for each in RECOVERY.read_text().splitlines() if ": predicted " in each)
    assert line == f"insufficient_funds: {told(Bin(600, 246.0, 234), Agreement.AS_PREDICTED)}"


@pytest.mark.parametrize(
    ("attempts", "expected", "succeeded"), [(1, 0.5, 2), (1, 1.1, 0), (1, -0.1, 0), (0, 0.1, 0), (2, 1.0, -1)]
)
def test_what_cannot_be_is_refused(attempts: int, expected: float, succeeded: int) -> None:
    with pytest.raises(ValueError, match="attempts"):
        Bin(attempts, expected, succeeded)
