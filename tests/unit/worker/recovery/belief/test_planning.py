"""The attempts that follow from a belief keep to every limit, cover what others do not, and are followed."""

import gc
import weakref
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.recovery import Card, DeclineCause
from services.worker.recovery.attempt_times import next_open
from services.worker.recovery.belief import planning
from services.worker.recovery.belief.beliefs import believed_before
from services.worker.recovery.belief.planning import HOURS, Limits, Planned, plan
from services.worker.recovery.belief.prior import PRIORS, prior
from services.worker.recovery.belief.stories import Stories
from services.worker.recovery.timezones import zone_of
from shared.policy import AttemptTimes

FAILED = datetime(2026, 9, 7, 6, tzinfo=UTC)
ALWAYS = AttemptTimes()
FUNDS = DeclineCause.INSUFFICIENT_FUNDS
causes = st.sampled_from(sorted(PRIORS))
countries = st.sampled_from(["US", "DE", None])
failures = st.integers(0, 2 * 365 * 24).map(lambda hours: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours))


def stories_of(cause: DeclineCause, country: str | None, wages: dict[str, float]) -> Stories:
    return believed_before(cause, Card(country=country), wages)


def limits(
    *,
    since: datetime = FAILED,
    after: int = 20,
    days: int = 21,
    most: int = 12,
    least: float = 0.01,
    times: AttemptTimes = ALWAYS,
    country: str | None = "DE",
) -> Limits:
    return Limits(timedelta(hours=after), since + timedelta(days=days), most, least, times, country)


def planned(
    cause: DeclineCause, *declined: datetime, within: Limits, country: str | None = "DE"
) -> tuple[Planned, ...]:
    return plan(stories_of(cause, country, {}), declined, within)


@settings(max_examples=150, deadline=None)
@given(
    causes, failures, st.integers(1, 72), st.integers(1, 30), st.integers(0, 12), st.sampled_from(["US", "DE", None])
)
def test_every_plan_keeps_to_its_limits(
    cause: DeclineCause, failed: datetime, after: int, days: int, most: int, country: str | None
) -> None:
    within = limits(since=failed, after=after, days=days, most=most, country=country)
    found = planned(cause, failed, within=within, country=country)
    assert len(found) <= most
    assert all(failed + timedelta(hours=after) <= each.at < within.until for each in found)
    assert all(later.at - earlier.at > timedelta(hours=after) for earlier, later in pairwise(found))
    assert all(each.at.astimezone(zone_of(country)).hour in {*HOURS, *(hour + 1 for hour in HOURS)} for each in found)
    assert all(0 < each.chance <= 1 for each in found)
    collected = [each.collected for each in found]
    assert collected == sorted(collected)
    assert all(share <= 1 - PRIORS[cause].never + 0.1 for share in collected)


@settings(max_examples=60, deadline=None)
@given(causes, failures, st.integers(1, 3), st.integers(0, 59), st.sampled_from(["DE", "LK", "NP"]))
def test_a_plan_is_followed_while_its_attempts_are_declined(
    cause: DeclineCause, failed: datetime, made: int, minute: int, country: str
) -> None:
    """Also where no hour of the clock is one of UTC's: Colombo is 5:30 ahead, Kathmandu 5:45."""
    within = limits(since=failed, country=country)
    first = planned(cause, failed, within=within, country=country)
    if len(first) <= made:
        return
    declined = [each.at + timedelta(minutes=minute) for each in first[:made]]
    rest = planned(cause, failed, *declined, within=within, country=country)
    assert [each.at for each in rest] == [each.at for each in first[made:]]
    assert [each.chance for each in rest] == [each.chance for each in first[made:]]
    missed = 1 - first[made - 1].collected
    assert rest[-1].collected == pytest.approx(1 - (1 - first[-1].collected) / missed)


def test_an_attempt_at_another_time_has_the_rest_planned_anew() -> None:
    """By a customer, say: what its decline says counts, and no attempt of ours follows too soon."""
    within = limits()
    first = planned(FUNDS, FAILED, within=within)
    elsewhere = first[0].at - timedelta(hours=5)
    rest = planned(FUNDS, FAILED, elsewhere, within=within)
    assert rest[0].at >= elsewhere + timedelta(hours=20)
    assert len(rest) <= within.most - 1
    assert rest != first[1:]


def test_invoices_that_fail_in_one_hour_share_a_plan() -> None:
    early, late = FAILED + timedelta(minutes=1), FAILED + timedelta(minutes=59)
    one, other = (planned(FUNDS, at, within=limits(since=FAILED)) for at in (early, late))
    assert one == other
    assert one[0].at >= late + timedelta(hours=20)


def test_each_attempt_adds_enough_or_is_left_out() -> None:
    counts = [len(planned(FUNDS, FAILED, within=limits(least=least))) for least in (0.001, 0.005, 0.02, 0.1, 0.5)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0
    generous, thrifty = (planned(FUNDS, FAILED, within=limits(least=least)) for least in (0.002, 0.03))
    assert generous[-1].collected > thrifty[-1].collected


def test_attempts_cover_days_weekdays_and_hours() -> None:
    found = planned(FUNDS, FAILED, within=limits(most=20, least=0.001))
    local = [each.at.astimezone(zone_of("DE")) for each in found]
    assert len({at.date() for at in local}) == len(found)
    assert len({at.weekday() for at in local}) >= 5
    assert len({at.hour for at in local}) >= 3


@pytest.mark.parametrize(
    "times",
    [
        AttemptTimes(quiet_from=22, quiet_until=8),
        AttemptTimes(weekdays=("monday", "tuesday", "wednesday", "thursday", "friday"), skip_holidays=True),
        AttemptTimes(zone="Asia/Tokyo", quiet_from=0, quiet_until=12),
    ],
)
def test_only_open_times_are_planned(times: AttemptTimes) -> None:
    found = planned(FUNDS, FAILED, within=limits(times=times))
    assert found
    assert all(next_open(times, each.at, "DE") == each.at for each in found)


def test_known_paydays_are_tried_first() -> None:
    stories = stories_of(FUNDS, "DE", {"day_25": 1.0})
    found = plan(stories, [FAILED], limits(most=1))
    assert [each.at.astimezone(zone_of("DE")).date().isoformat() for each in found] == ["2026-09-25"]
    assert found[0].why == "customers are paid on the 25."


def test_money_sooner_is_worth_more_than_a_little_more_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many are paid on the 10th as on the 25th, when some of the others still have money."""
    stories = stories_of(FUNDS, "DE", {"day_10": 0.51, "day_25": 0.49})

    def first_day() -> int:
        planning._plans.clear()
        (only,) = plan(stories, [FAILED], limits(most=1))
        return only.at.astimezone(zone_of("DE")).day

    assert first_day() == 10
    monkeypatch.setattr(planning, "A_DAY_COSTS", 0.0)
    assert first_day() == 25
    planning._plans.clear()


def test_a_plan_that_is_remembered_keeps_no_stories() -> None:
    stories = Stories(prior("DE").weights(FUNDS, {}, credit=False), "DE")
    limits = Limits(timedelta(hours=20), FAILED + timedelta(days=21), 3, 0.01, AttemptTimes(), "DE")
    assert plan(stories, [FAILED], limits) == plan(stories, [FAILED], limits)
    gone = weakref.ref(stories)
    del stories
    gc.collect()
    assert gone() is None
