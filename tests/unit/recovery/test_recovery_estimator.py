"""What the estimator learns, and that little data changes little."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.worker.recovery import AttemptNow, DeclineCause, Policy, Timing, Wait, decide
from services.worker.recovery.estimator import Estimator, Observed
from tests.unit.recovery.builders import OPENED, first_failure, invoice, recovery

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
    timing: Timing = Estimator.learn([])
    assert timing.pick(CAUSE, MONDAY, SPAN, BERLIN) == MONDAY


def test_a_single_success_moves_nothing() -> None:
    estimator = Estimator.learn([Observed(CAUSE, MONDAY.replace(hour=10), succeeded=True)])
    assert abs(estimator.rate(CAUSE, MONDAY) - Estimator.learn([]).rate(CAUSE, MONDAY)) < 0.1
    assert estimator.pick(CAUSE, MONDAY, (MONDAY, MONDAY + timedelta(hours=2)), BERLIN) == MONDAY


def test_much_data_moves_the_attempt_to_the_hours_that_work() -> None:
    picked = Estimator.learn(_mornings(300)).pick(CAUSE, MONDAY, SPAN, BERLIN)
    assert picked.astimezone(BERLIN).hour == 10
    assert picked.minute == MONDAY.minute


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
    timing = Estimator.learn(_mornings(300, hour=18))
    told = {
        name: decide(Policy(timing=name), recovery(), invoice(), [first_failure("do_not_honor")], OPENED, timing=timing)
        for name in ("rules", "learned")
    }
    by_rules, learned = told["rules"], told["learned"]
    assert isinstance(by_rules, Wait)
    assert isinstance(learned, Wait)
    assert learned.until.astimezone(BERLIN).hour == 18
    assert learned.until != by_rules.until
    then = decide(
        Policy(timing="learned"), recovery(), invoice(), [first_failure("do_not_honor")], learned.until, timing=timing
    )
    assert isinstance(then, AttemptNow)
