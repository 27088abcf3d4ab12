"""What the book says of a charge follows from what was said of its refunds and disputes, in whatever order."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money import Money
from shared.money_back import Fact, Kind, Sums, sums_of

START = datetime(2026, 9, 1, tzinfo=UTC)


def fact(kind: Kind, number: int, amount: int, day: int = 0, returned: int = 0, back: int = 0, **more: str) -> Fact:
    """`amount` went back on this day, and `returned` of it came back on the other."""
    returned_at = START + timedelta(days=back) if returned else None
    taken = Money(amount, more.get("currency", "usd"))
    return Fact(kind, f"x_{number}", None, None, taken, START + timedelta(days=day), returned, returned_at)


def sums(*facts: Fact, booked: int = 1_000) -> Sums:
    return sums_of(facts, Money(booked, "usd"))


def test_each_refund_and_dispute_counts_with_its_amount() -> None:
    said = (fact(Kind.REFUND, 1, 300), fact(Kind.REFUND, 2, 200, 1), fact(Kind.DISPUTE, 3, 400, 2, 400, 3))
    assert sums(*said) == Sums(500, 400, 400)


def test_the_charges_own_sum_counts_for_refunds_that_are_not_known_by_themselves() -> None:
    total = fact(Kind.REFUNDS, 0, 500, 1)
    assert sums(total) == Sums(500)
    assert sums(total, fact(Kind.REFUND, 1, 300)) == Sums(500)
    assert sums(total, fact(Kind.REFUND, 1, 300), fact(Kind.REFUND, 2, 200)) == Sums(500)
    assert sums(total, fact(Kind.REFUND, 1, 300), fact(Kind.REFUND, 2, 200), fact(Kind.REFUND, 3, 100, 2)) == Sums(600)


@pytest.mark.parametrize(("failed_on", "left"), [(2, 200), (1, 200), (0, 500)])
def test_a_refund_that_fails_after_the_charge_has_said_its_sum_is_taken_off(failed_on: int, left: int) -> None:
    # One that had failed before is not part of the sum: the 500 are of other refunds.
    assert sums(fact(Kind.REFUNDS, 0, 500, 1), fact(Kind.REFUND, 1, 300, 0, 300, failed_on)) == Sums(left)


def test_no_more_counts_than_was_booked() -> None:
    assert sums(fact(Kind.REFUND, 1, 3_000)) == Sums(1_000)
    assert sums(fact(Kind.REFUND, 1, 600), fact(Kind.DISPUTE, 2, 600, 1)) == Sums(600, 400)


def test_a_dispute_of_money_that_was_refunded_takes_nothing_and_wins_nothing() -> None:
    assert sums(fact(Kind.REFUND, 1, 1_000), fact(Kind.DISPUTE, 2, 1_000, 1)) == Sums(1_000)
    assert sums(fact(Kind.REFUND, 1, 1_000), fact(Kind.DISPUTE, 2, 1_000, 1, 1_000, 2)) == Sums(1_000)


def test_what_is_beyond_the_booked_amount_counts_when_something_before_it_comes_back() -> None:
    disputed, refunded = fact(Kind.DISPUTE, 1, 1_000, 0, 1_000, 2), fact(Kind.REFUND, 2, 1_000, 1)
    assert sums(disputed, refunded) == Sums(1_000, 1_000, 1_000)
    assert sums(disputed, fact(Kind.REFUND, 2, 1_000, 1, 1_000, 3)) == Sums(0, 1_000, 1_000)


def test_a_dispute_in_another_currency_counts_as_the_whole_charge() -> None:
    assert sums(fact(Kind.DISPUTE, 1, 7, currency="eur")) == Sums(0, 1_000)
    assert sums(fact(Kind.DISPUTE, 1, 7, 0, 7, 1, currency="eur")) == Sums(0, 1_000, 1_000)


@st.composite
def stories(draw: st.DrawFn) -> list[Fact]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from([Kind.REFUND, Kind.DISPUTE]))
        amount, day = draw(st.integers(0, 1_500)), draw(st.integers(0, 9))
        returned = draw(st.sampled_from([0, amount]))
        found.append(fact(kind, number, amount, day, returned, day + draw(st.integers(0, 9))))
    if draw(st.booleans()):
        found.append(fact(Kind.REFUNDS, 99, draw(st.integers(0, 3_000)), draw(st.integers(0, 9))))
    return found


@given(stories(), st.integers(1, 2_000), st.randoms(use_true_random=False))
def test_in_whatever_order_it_was_said_what_is_left_is_between_nothing_and_what_was_booked(
    said: list[Fact], booked: int, chance: random.Random
) -> None:
    found = sums(*said, booked=booked)
    assert min(found.refunded, found.disputed, found.won_back, found.disputed - found.won_back) >= 0
    assert 0 <= booked - found.refunded - found.disputed + found.won_back <= booked
    chance.shuffle(said)
    assert sums(*said, booked=booked) == found


@given(stories(), st.integers(1, 2_000))
def test_what_is_gone_is_the_sum_of_what_has_not_come_back(said: list[Fact], booked: int) -> None:
    own = [each for each in said if each.kind is not Kind.REFUNDS]
    found = sums(*own, booked=booked)
    gone = sum(each.taken.amount - each.returned for each in own)
    assert found.refunded + found.disputed - found.won_back == min(gone, booked)
