"""The interval of the lift: against published tables, by its own definition, and by how often it holds the truth."""

from math import comb, sqrt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.report import told
from services.ledger.reports.endpoints import shown
from services.ledger.reports.lift import ENOUGH, Group, Lift, Stratum, Verdict, _mean, lift_of, wilson

RECOVERY = Path(__file__).parents[3] / "docs" / "recovery.md"

# Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
WILSON = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
]
# Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10: x1, n1, x2, n2, the interval.
NEWCOMBE = [
    (56, 70, 48, 80, 0.0524, 0.3339),
    (9, 10, 3, 10, 0.1705, 0.8090),
    (6, 7, 2, 7, 0.0582, 0.8062),
    (5, 56, 0, 29, -0.0381, 0.1926),
    (0, 10, 0, 20, -0.1611, 0.2775),
    (0, 10, 0, 10, -0.2775, 0.2775),
    (10, 10, 0, 20, 0.6791, 1.0000),
    (10, 10, 0, 10, 0.6075, 1.0000),
]


def unguarded(strata: list[Stratum]) -> tuple[float, float, float]:
    """The difference and its interval, however few they are of."""
    found = lift_of(strata, enough=1)
    assert found.difference is not None
    assert found.low is not None
    assert found.high is not None
    return found.difference, found.low, found.high


def of_one(treatment: Group, holdout: Group) -> tuple[float, float, float]:
    """The same of a single stratum."""
    return unguarded([Stratum(treatment, holdout)])


@pytest.mark.parametrize(("paid", "of", "low", "high"), WILSON)
def test_wilsons_interval_is_the_published_one(paid: int, of: int, low: float, high: float) -> None:
    assert wilson(paid / of, of) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("x1", "n1", "x2", "n2", "low", "high"), NEWCOMBE)
def test_the_difference_has_the_published_interval(x1: int, n1: int, x2: int, n2: int, low: float, high: float) -> None:
    difference, found_low, found_high = of_one(Group(n1, x1), Group(n2, x2))
    assert difference == pytest.approx(x1 / n1 - x2 / n2)
    assert (found_low, found_high) == pytest.approx((low, high), abs=5e-5)


def test_a_lift_by_hand() -> None:
    # 60 of 100 against 40 of 100. Wilson with z² = 3.841459: the middle is (0.6 + 3.841459/200) / 1.03841459 = 0.59630,
    # the half width sqrt(0.24/100 + 3.841459/40000) · 1.959964 / 1.03841459 = 0.09430: 0.50200 to 0.69060. The other
    # one is its mirror. Newcombe: 0.2 - sqrt(2 · 0.09800²) and 0.2 + sqrt(2 · 0.09060²).
    found = lift_of([Stratum(Group(100, 60), Group(100, 40))])
    assert found.verdict is Verdict.GAIN
    assert found.difference == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - sqrt(2) * 0.09800, abs=1e-4)
    assert found.high == pytest.approx(0.2 + sqrt(2) * 0.09060, abs=1e-4)


def test_the_line_in_the_document_is_what_the_command_says() -> None:
    (line,) = (each.strip() for each in RECOVERY.read_text().splitlines() if "points, +" in each)
    label, _, said = line.partition(": ")
    found = lift_of([Stratum(Group(900, 612), Group(101, 56))])
    assert label == "insufficient_funds"
    assert said == told(shown(found))


def test_nothing_is_told_of_too_few_or_of_nobody() -> None:
    assert lift_of([]).verdict is Verdict.NO_HOLDOUT
    alone = lift_of([Stratum(Group(500, 400), Group()), Stratum(Group(), Group())])
    assert alone == Lift(Verdict.NOT_ENOUGH_DATA, Group(500, 400), Group())
    few = lift_of([Stratum(Group(5_000, 4_900), Group(ENOUGH - 1, 0))])
    assert few == Lift(Verdict.NOT_ENOUGH_DATA, Group(5_000, 4_900), Group(ENOUGH - 1, 0))
    assert lift_of([Stratum(Group(5_000, 4_900), Group(ENOUGH, 0))]).difference is not None


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="2 of 1"):
        Group(1, 2)
    with pytest.raises(ValueError, match="nothing"):
        wilson(0.5, 0)


def test_strata_are_compared_within_themselves() -> None:
    # Simpson's paradox: within each share the two groups are paid alike, and yet the sums say 18 points more.
    easy, hard = Stratum(Group(900, 810), Group(100, 90)), Stratum(Group(100, 20), Group(100, 20))
    naive = (810 + 20) / 1000 - (90 + 20) / 200
    assert naive == pytest.approx(0.28)
    found = lift_of([easy, hard])
    assert found.difference == pytest.approx(0.0)
    assert found.verdict is Verdict.UNCLEAR
    assert (found.treatment, found.holdout) == (Group(1000, 830), Group(200, 110))


def test_the_weights_of_strata_are_mantel_and_haenszels() -> None:
    strata = [Stratum(Group(90, 60), Group(30, 10)), Stratum(Group(40, 10), Group(40, 8))]
    weights = [90 * 30 / 120, 40 * 40 / 80]
    by_hand = (weights[0] * (60 / 90 - 10 / 30) + weights[1] * (10 / 40 - 8 / 40)) / sum(weights)
    assert lift_of(strata).difference == pytest.approx(by_hand)


groups = st.integers(1, 4_000).flatmap(lambda n: st.integers(0, n).map(lambda paid: Group(n, paid)))
strata_of_some = st.lists(st.builds(Stratum, groups, groups), min_size=1, max_size=5)


@given(strata_of_some)
def test_the_interval_holds_the_difference_and_stays_within_one(strata: list[Stratum]) -> None:
    difference, low, high = unguarded(strata)
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1


@given(strata_of_some)
def test_exchanging_the_groups_mirrors_it(strata: list[Stratum]) -> None:
    difference, low, high = unguarded(strata)
    mirrored = unguarded([Stratum(each.holdout, each.treatment) for each in strata])
    assert mirrored == pytest.approx((-difference, -high, -low))


@given(groups, groups)
def test_exchanging_paid_and_unpaid_mirrors_it(treatment: Group, holdout: Group) -> None:
    def unpaid(each: Group) -> Group:
        return Group(each.assigned, each.assigned - each.paid)

    difference, low, high = of_one(treatment, holdout)
    mirrored = of_one(unpaid(treatment), unpaid(holdout))
    assert mirrored == pytest.approx((-difference, -high, -low))


@given(groups, groups, st.integers(2, 50))
def test_more_of_the_same_makes_it_narrower(treatment: Group, holdout: Group, times: int) -> None:
    def grown(each: Group) -> Group:
        return Group(each.assigned * times, each.paid * times)

    _, low, high = of_one(treatment, holdout)
    _, low_of_more, high_of_more = of_one(grown(treatment), grown(holdout))
    assert high_of_more - low_of_more < high - low


@given(st.builds(Stratum, groups, groups), st.integers(1, 4))
def test_a_stratum_that_is_cut_in_like_parts_stays_what_it_is(stratum: Stratum, parts: int) -> None:
    times = Stratum(
        Group(stratum.treatment.assigned * parts, stratum.treatment.paid * parts),
        Group(stratum.holdout.assigned * parts, stratum.holdout.paid * parts),
    )
    assert unguarded([stratum] * parts) == pytest.approx(unguarded([times]), abs=1e-9)


@given(groups)
def test_the_mean_of_one_group_is_its_own_interval(group: Group) -> None:
    share, (low, high) = _mean([1.0], [group])
    assert share == pytest.approx(group.paid / group.assigned)
    assert (low, high) == pytest.approx(wilson(group.paid / group.assigned, group.assigned))
    assert 0 <= low <= share <= high <= 1


@pytest.mark.parametrize(("n1", "p1", "n2", "p2"), [(60, 0.7, 30, 0.5), (120, 0.95, 30, 0.9), (40, 0.5, 40, 0.5)])
def test_it_holds_the_truth_as_often_as_it_says(n1: int, p1: float, n2: int, p2: float) -> None:
    """Exact, over every outcome that two binomial groups can have: no draw, no chance."""

    def chance(n: int, k: int, p: float) -> float:
        return comb(n, k) * p**k * (1 - p) ** (n - k)

    covered = 0.0
    for first in range(n1 + 1):
        for second in range(n2 + 1):
            _, low, high = of_one(Group(n1, first), Group(n2, second))
            if low <= p1 - p2 <= high:
                covered += chance(n1, first, p1) * chance(n2, second, p2)
    assert 0.93 < covered < 0.98


def test_strata_hold_the_truth_as_often_as_they_say() -> None:
    """Two shares of holdout with a common gain of 10 points, exact over every outcome of small groups."""
    sizes = ((24, 0.6, 12, 0.5), (12, 0.35, 12, 0.25))
    chances: dict[tuple[int, int], list[tuple[float, Stratum]]] = {}
    for n1, p1, n2, p2 in sizes:
        chances[n1, n2] = [
            (
                comb(n1, a) * p1**a * (1 - p1) ** (n1 - a) * comb(n2, b) * p2**b * (1 - p2) ** (n2 - b),
                Stratum(Group(n1, a), Group(n2, b)),
            )
            for a in range(n1 + 1)
            for b in range(n2 + 1)
        ]
    one, other = chances.values()
    covered = total = 0.0
    for first, left in one:
        if first < 1e-4:
            continue
        for second, right in other:
            if second < 1e-4:
                continue
            _, low, high = unguarded([left, right])
            total += first * second
            covered += first * second * (low <= 0.1 <= high)
    assert 0.93 < covered / total < 0.99
