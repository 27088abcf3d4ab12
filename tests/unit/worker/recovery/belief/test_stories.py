"""The belief: which stories accept an attempt at which time, and what a decline rules out."""

import tracemalloc
from datetime import UTC, date, datetime, time, timedelta
from math import log
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from services.worker.recovery import Card, DeclineCause
from services.worker.recovery.belief import stories as module
from services.worker.recovery.belief.beliefs import believed_before
from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.belief.parts import BANKS, STAYS, WEEKEND, Weights
from services.worker.recovery.belief.prior import PRIORS, prior
from services.worker.recovery.belief.stories import APPROVED, PAID_AT_HOUR, SIZE, Bits, Stories, how_many

BERLIN = ZoneInfo("Europe/Berlin")
FAILED = datetime(2026, 9, 22, 9, tzinfo=UTC)
CAUSES = sorted(PRIORS)


def share(stories: Bits) -> float:
    return how_many(stories) / SIZE


def why(stories: Stories, reached: Bits) -> str | None:
    (text,) = stories.why(reached[None, :])
    return text


def stories_of(cause: DeclineCause, country: str | None, wages: dict[str, float], *, credit: bool = False) -> Stories:
    return believed_before(cause, Card(country=country, funding="credit" if credit else "debit"), wages)


def made_of(way: str, *, stay: int = 0, bank: int = 0, share: float = 1.0) -> Stories:
    """Stories of one way, one stay of the money and one bank."""
    stays = tuple(float(number == stay) for number in range(len(STAYS)))
    banks = tuple(float(number == bank) for number in range(len(BANKS)))
    return Stories(Weights(((way, share), ("never", 1 - share)), stays, banks), "DE")


@pytest.mark.parametrize("cause", CAUSES)
def test_the_same_belief_in_every_process(cause: DeclineCause) -> None:
    one, other = (Stories(prior("DE").weights(cause, {}, credit=False), "DE") for _ in range(2))
    for hours in (0, 5, 77, 400):
        at = FAILED + timedelta(hours=hours)
        assert np.array_equal(one.accepting(at, FAILED), other.accepting(at, FAILED))
        assert np.array_equal(one.ruled_out(one.all, at.timestamp()), other.ruled_out(other.all, at.timestamp()))


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("country", ["US", "DE", None])
def test_what_never_becomes_possible_stays_impossible(cause: DeclineCause, country: str | None) -> None:
    stories = stories_of(cause, country, {})
    ever = ~stories.all
    for hours in range(0, 60 * 24, 3):
        ever = ever | stories.accepting(FAILED + timedelta(hours=hours), FAILED)
    # Some money is gone within hours, between two looks.
    assert 1 - PRIORS[cause].never - 0.1 < share(ever) < 1 - PRIORS[cause].never + 0.02


def test_money_is_there_from_the_payday_on_and_goes_again() -> None:
    stories = stories_of(DeclineCause.INSUFFICIENT_FUNDS, "DE", {"day_25": 1.0})
    noon = [datetime(2026, 9, day, 12, tzinfo=BERLIN) for day in range(22, 31)]
    shares = [share(stories.accepting(at, FAILED)) for at in noon]
    assert max(shares) == shares[3], "the 25th"
    assert shares[3] > 0.4
    assert shares[3:] == sorted(shares[3:], reverse=True)
    night, morning = (datetime(2026, 9, 25, hour, tzinfo=BERLIN) for hour in (2, 7))
    assert share(stories.accepting(night, FAILED)) < share(stories.accepting(morning, FAILED)) / 2


def test_delays_pass_and_do_not_come_again() -> None:
    stories = stories_of(DeclineCause.TRY_LATER, "DE", {})
    week = [share(stories.accepting(FAILED + timedelta(days=n), FAILED)) for n in range(0, 21, 7)]
    assert week == sorted(week)
    assert week[1] > 0.5


@pytest.mark.parametrize(("at", "over"), [("2026-09-22T21:30Z", False), ("2026-09-22T22:30Z", True)])
def test_a_day_s_limit_is_over_at_the_local_midnight(at: str, over: bool) -> None:
    stories = stories_of(DeclineCause.LIMIT_EXCEEDED, "DE", {})
    earlier = share(stories.accepting(FAILED + timedelta(hours=10), FAILED))
    now = share(stories.accepting(datetime.fromisoformat(at), FAILED))
    assert (now > earlier + 0.15) is over


def test_a_decline_rules_out_most_of_the_stories_that_accept_and_no_other() -> None:
    stories = stories_of(DeclineCause.INSUFFICIENT_FUNDS, "US", {})
    at = datetime(2026, 9, 25, 16, tzinfo=UTC)
    accepting = stories.accepting(at, FAILED)
    out = stories.ruled_out(accepting, at.timestamp())
    assert not how_many(out & ~accepting)
    assert how_many(out) / how_many(accepting) == pytest.approx(APPROVED, abs=0.05)


def test_the_reason_is_what_most_stories_have_in_common() -> None:
    stories = stories_of(DeclineCause.INSUFFICIENT_FUNDS, "DE", {"day_25": 0.9})
    payday = stories.accepting(datetime(2026, 9, 25, 12, tzinfo=BERLIN), FAILED)
    assert why(stories, payday) == "customers are paid on the 25."
    assert why(stories, ~stories.all) is None
    limits = stories_of(DeclineCause.LIMIT_EXCEEDED, "DE", {})
    assert why(limits, limits.accepting(FAILED + timedelta(hours=14), FAILED)) == "limits of a day are over"


def test_a_cause_without_a_prior_of_its_own_is_believed_as_an_unknown_one() -> None:
    at = FAILED + timedelta(days=3)
    lost, unknown = (stories_of(cause, "DE", {}) for cause in (DeclineCause.LOST_OR_STOLEN, DeclineCause.UNKNOWN))
    assert share(lost.accepting(at, FAILED)) == pytest.approx(share(unknown.accepting(at, FAILED)), abs=0.02)


def test_a_credit_card_s_limit_may_be_what_is_missing() -> None:
    october = datetime(2026, 10, 1, 8, tzinfo=BERLIN)
    credit, debit = (stories_of(DeclineCause.INSUFFICIENT_FUNDS, "DE", {}, credit=each) for each in (True, False))
    month_over = share(credit.accepting(october, FAILED)) - share(debit.accepting(october, FAILED))
    assert month_over > 0.03
    before, after = (datetime(2026, 9, 30, 23, tzinfo=BERLIN), datetime(2026, 10, 1, 0, tzinfo=BERLIN))
    new = credit.accepting(after, FAILED) & ~credit.accepting(before, FAILED)
    assert why(credit, new) == "limits of a month are over"


@pytest.mark.parametrize("stay", range(len(STAYS)))
def test_money_stays_as_long_as_it_is_believed_to(stay: int) -> None:
    stories = made_of("day_25", stay=stay)
    least, most = STAYS[stay]
    paid = datetime(2026, 9, 25, PAID_AT_HOUR, tzinfo=BERLIN)
    for hours in range(4, 27 * 24, 6):  # as often as money is looked at, until it comes again
        still_there = np.clip(log(most / hours) / log(most / least), 0, 1)  # stays are even on a log scale
        accepting = stories.accepting(paid + timedelta(hours=hours), FAILED)
        assert share(accepting) == pytest.approx(still_there, abs=0.001), f"{hours} hours after the payday"


@pytest.mark.parametrize("closed", [WEEKEND, (22, 8), (9, 4)])
def test_banks_decline_in_their_local_hours_and_in_no_others(closed: str | tuple[int, int]) -> None:
    stories = made_of("delay_0", bank=BANKS.index(closed))
    for day in (date(2026, 9, 25), date(2026, 9, 26)):
        for hour in range(24):
            declines = day.weekday() >= 5 if isinstance(closed, str) else (hour - closed[0]) % 24 < closed[1]
            at = datetime.combine(day, time(hour), BERLIN)
            assert share(stories.accepting(at, FAILED)) == (0 if declines else 1)


def test_what_is_kept_of_all_beliefs_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: Kept[tuple[int, int], Bits] = Kept(50)
    monkeypatch.setattr(module, "_days", kept)
    believed = [made_of("day_25", share=part) for part in (0.25, 0.75)]
    for day in range(60):
        for stories in believed:
            once, again = (stories.accepting(FAILED + timedelta(days=day), FAILED) for _ in range(2))
            assert np.array_equal(once, again)
    assert len(kept) == 50


def test_stories_take_little_memory() -> None:
    """Of a belief that was learned, and that no other merchant shares."""
    believed = prior("DE").weights(DeclineCause.INSUFFICIENT_FUNDS, {}, credit=True)
    Stories(believed, "DE")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [Stories(believed, "DE") for _ in range(10)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(kept) < 60_000
