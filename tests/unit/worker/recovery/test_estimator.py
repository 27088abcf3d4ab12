"""What the estimator learns, and that little data changes little."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.worker.recovery import (
    AttemptNow,
    DeclineCause,
    Delays,
    Paydays,
    Timing,
    Wait,
    decide,
    next_retry,
)
from services.worker.recovery.estimator import Estimator, Observed
from services.worker.recovery.schedule import span
from tests.unit.worker.recovery.builders import FIXED, OPENED, first_failure, invoice, recovery

CAUSE = DeclineCause.DO_NOT_HONOR
BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 9, 7, 3, 17, tzinfo=UTC)
SPAN = (MONDAY - timedelta(hours=20), MONDAY + timedelta(hours=40))


def _mornings(count: int, hour: int = 10) -> list[Observed]:
    """Retries at ten in the morning (or another hour) succeed, those at night do not."""
    days = [datetime(2026, 1, 1, tzinfo=BERLIN) + timedelta(days=n) for n in range(count)]
    good = [Observed(CAUSE, day.replace(hour=hour), succeeded=True) for day in days]
    return good + [Observed(CAUSE, day.replace(hour=3), succeeded=False) for day in days]


def test_without_data_the_schedule_s_time_is_kept() -> None:
    timing = Timing(Estimator.learn([]))
    assert timing.pick(CAUSE, MONDAY, SPAN, BERLIN) == MONDAY


def test_a_single_success_moves_nothing() -> None:
    estimator = Estimator.learn([Observed(CAUSE, MONDAY.replace(hour=10), succeeded=True)])
    assert abs(estimator.rate(CAUSE, MONDAY) - Estimator.learn([]).rate(CAUSE, MONDAY)) < 0.1
    assert estimator.pick(CAUSE, MONDAY, (MONDAY, MONDAY + timedelta(hours=2)), BERLIN) == MONDAY


def test_much_data_moves_the_attempt_to_the_hours_that_work() -> None:
    picked = Estimator.learn(_mornings(300)).pick(CAUSE, MONDAY, SPAN, BERLIN)
    assert picked.astimezone(BERLIN).hour == 10
    assert picked.minute == MONDAY.minute


def test_a_time_that_nobody_has_tried_is_not_preferred_to_one_that_did_badly() -> None:
    """Many tries at the scheduled hour, with few successes: what is left is unknown, not better."""
    at_schedule = MONDAY.astimezone(BERLIN).hour
    days = [datetime(2026, 1, 1, tzinfo=BERLIN) + timedelta(days=n) for n in range(30)]
    observed = [Observed(CAUSE, day.replace(hour=at_schedule), succeeded=day.day % 5 == 0) for day in days]
    assert Estimator.learn(observed).pick(CAUSE, MONDAY, SPAN, BERLIN) == MONDAY


def test_with_paydays_the_day_is_the_schedule_s_and_only_the_hour_is_learned() -> None:
    """The 28th was good for months; the next attempt is still on the 15th, at the hour that works."""
    funds = DeclineCause.INSUFFICIENT_FUNDS
    observed = [
        Observed(funds, datetime(2026, month, day, hour, tzinfo=BERLIN), succeeded=(day == 28) or hour == 18)
        for month in range(1, 8)
        for day in (1, 15, 28)
        for hour in (8, 9, 18)
        for _ in range(10)
    ]
    since = datetime(2026, 9, 12, 12, tzinfo=UTC)
    due = next_retry(Paydays(), since, 1, "DE", "k")
    estimator = Estimator.learn(observed)
    picked = estimator.pick(funds, due, span(Paydays(), since, 1, "DE", due), BERLIN).astimezone(BERLIN)
    assert (picked.day, picked.hour) == (15, 18)
    anywhere = (due, due + timedelta(days=14))
    assert estimator.pick(funds, due, anywhere, BERLIN).astimezone(BERLIN).day == 28  # what the span keeps from


@given(
    since=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - its bounds
    country=st.sampled_from(["DE", "US", "JP", "BR", None]),
    schedule=st.sampled_from([Paydays(), Paydays(after_hours=6, over_minutes=180), Delays(hours=(2, 48, 120))]),
    tries=st.integers(1, 6),
    key=st.text(max_size=4),
)
def test_the_scheduled_time_is_within_the_span_that_is_left_to_learn_in(
    since: datetime, country: str | None, schedule: Delays | Paydays, tries: int, key: str
) -> None:
    due = next_retry(schedule, since, tries, country, key)
    earliest, latest = span(schedule, since, tries, country, due)
    assert since < earliest <= due < latest


def test_another_cause_learns_nothing_of_it() -> None:
    picked = Estimator.learn(_mornings(300)).pick(DeclineCause.INSUFFICIENT_FUNDS, MONDAY, SPAN, BERLIN)
    assert picked == MONDAY


@given(
    observed=st.lists(
        st.builds(
            Observed,
            st.sampled_from(DeclineCause),
            st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001 - local times have no zone
            st.booleans(),
        ),
        max_size=60,
    ),
    hours=st.tuples(st.integers(-48, 48), st.integers(-48, 48)),
)
def test_a_picked_time_is_the_scheduled_one_or_within_the_span(
    observed: list[Observed], hours: tuple[int, int]
) -> None:
    earliest, latest = (MONDAY + timedelta(hours=each) for each in hours)
    picked = Estimator.learn(observed).pick(CAUSE, MONDAY, (earliest, latest), BERLIN)
    assert picked == MONDAY or earliest <= picked <= latest
    assert 0 < Estimator.learn(observed).rate(CAUSE, MONDAY) < 1


def test_a_policy_that_asks_for_it_retries_at_the_learned_hour() -> None:
    timing = Timing(Estimator.learn(_mornings(300, hour=18)))
    policies = {name: FIXED.model_copy(update={"timing": name}) for name in ("rules", "learned")}
    past = [first_failure("do_not_honor")]
    told = {
        name: decide(policy, recovery(), invoice(), past, OPENED, timing=timing) for name, policy in policies.items()
    }
    by_rules, learned = told["rules"], told["learned"]
    assert isinstance(by_rules, Wait)
    assert isinstance(learned, Wait)
    assert learned.until.astimezone(BERLIN).hour == 18
    assert learned.until != by_rules.until
    then = decide(policies["learned"], recovery(), invoice(), past, learned.until, timing=timing)
    assert isinstance(then, AttemptNow)
