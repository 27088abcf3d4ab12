"""Policies beside what happened, against a truth that is known because it was made up."""

import pytest

from console.evaluation.backtest.compare import HAPPENED, compare
from console.evaluation.history import Header
from services.worker.recovery import Policy
from tests.unit.console.evaluation.backtest.synthetic import (
    CITADEL,
    SILENT,
    UNTIL,
    at,
    declined,
    failure,
    ladder,
    paid,
    past,
    truth,
)


@pytest.mark.parametrize(("retried", "seed"), [("stripe", 1), ("stripe", 2), ("polar", 1), ("polar", 4)])
def test_the_interval_holds_what_would_really_have_happened(retried: str, seed: int) -> None:
    """The past was retried by a fixed ladder; the truth is the policy played on the very same customers."""
    header, failures, people = past(700, seed, ladder(retried))
    share, attempts = truth(people)
    really, ours = compare(header, failures, {"policy": SILENT}, seed=1).outcomes
    assert ours.share.low <= share <= ours.share.high
    assert ours.gain is not None
    assert ours.gain.low <= share - really.share.value <= ours.gain.high
    assert ours.share.high - ours.share.low < 0.2
    assert ours.totals.attempts == pytest.approx(attempts, rel=0.15)
    assert ours.breaches == {}


def test_what_happened_is_counted_exactly() -> None:
    header = Header.of(None, at(-30), UNTIL)
    failures = [
        failure(declined(0), declined(2), paid(4), invoice="in_1"),
        failure(declined(0), paid(1, by="customer", method="pm_2"), invoice="in_2", amount=500),
        failure(declined(0), invoice="in_3", ending="paid_elsewhere", ended_at=at(3), currency="eur"),
        failure(declined(0), declined(7), declined(9), invoice="in_4"),
    ]
    comparison = compare(header, failures, {"policy": CITADEL}, seed=1)
    really = comparison.outcomes[0]
    assert (really.name, really.totals.by_retry, really.totals.otherwise) == (HAPPENED, 1, 2)
    assert really.share.value == 0.75
    assert really.totals.attempts == 4
    assert {name: each.value for name, each in really.money.items()} == {"usd": 1500, "eur": 1000}
    assert comparison.due == {"usd": 2500, "eur": 1000}
    assert (comparison.few, comparison.still_open) == (2, 0)


def test_what_stripe_did_is_what_a_policy_does_that_leaves_it_to_stripe() -> None:
    """The driver `stripe`: the same attempts, the same payments, to the last one."""
    header, failures, _ = past(300, 5, ladder("stripe"))
    left_alone = CITADEL.model_copy(update={"driver": "stripe"})
    really, ours = compare(header, failures, {"policy": left_alone}, seed=1).outcomes
    assert ours.totals.paid == pytest.approx(really.totals.paid)
    assert ours.totals.attempts == really.totals.attempts
    assert (ours.saved, ours.added) == (0, 0)
    assert ours.gain is not None
    assert (ours.gain.low, ours.gain.high) == pytest.approx((0, 0))


def test_a_seed_repeats_everything_and_another_moves_the_intervals_only() -> None:
    header, failures, _ = past(150, 6, ladder("stripe"))
    first, same, other = (compare(header, failures, {"p": CITADEL}, seed=seed).outcomes[1] for seed in (1, 1, 2))
    assert first == same
    assert other.share.value == pytest.approx(first.share.value)
    assert other.share != first.share


def test_fewer_failures_make_wider_intervals() -> None:
    widths = []
    for count in (60, 600):
        header, failures, _ = past(count, 7, ladder("stripe"))
        share = compare(header, failures, {"p": CITADEL}, seed=1).outcomes[1].share
        widths.append(share.high - share.low)
    assert widths[0] > 1.5 * widths[1]


def test_one_failure_is_enough_and_none_is_not() -> None:
    header = Header.of(None, at(-30), UNTIL)
    (_, ours) = compare(header, [failure(declined(0))], {"p": Policy.default()}, seed=1).outcomes
    assert 0 <= ours.share.low <= ours.share.value <= ours.share.high <= 1
    with pytest.raises(ValueError, match="no failed renewal"):
        compare(header, [], {"p": Policy.default()}, seed=1)


def test_each_part_adds_up() -> None:
    header, failures, _ = past(200, 8, ladder("polar"))
    for outcome in compare(header, failures, {"a": CITADEL, "b": Policy.default()}, seed=1).outcomes:
        parts = outcome.by_cause.values()
        assert sum(each.failures for each in parts) == 200
        assert sum(each.paid for each in parts) == pytest.approx(outcome.totals.paid)
        assert sum(each.attempts for each in parts) == pytest.approx(outcome.totals.attempts)
        assert set(outcome.money) == {each.currency for each in failures}
