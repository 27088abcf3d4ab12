"""Plans as arrays are the plans that are worked out plainly, to the last digit: whatever is believed, and asked."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.recovery.belief.parts import BANKS, STAYS, WAYS, Belief, Weights
from services.worker.recovery.belief.paydays import CONVENTIONS
from services.worker.recovery.belief.planning import Limits, plan
from services.worker.recovery.belief.prior import PRIORS, prior
from services.worker.recovery.belief.stories import Bits, Stories
from shared.policy import AttemptTimes
from shared.policy.paydays import PAYDAYS
from tests.unit.worker.recovery.belief.reference import Reference

# Fewer stories than in production, because the reference asks one after the other.
SIZE = 512
COUNTRIES = ["US", "DE", "IN", "AU", None]  # half hours, and summers of their own
hours = st.integers(0, 2 * 365 * 24).map(lambda number: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number))
TIMES = [
    AttemptTimes(),
    AttemptTimes(),
    AttemptTimes(quiet_from=22, quiet_until=8),
    AttemptTimes(weekdays=("monday", "saturday"), skip_holidays=True),
]


@st.composite
def believed(draw: st.DrawFn) -> Weights:
    """What is believed before anything is seen, or some other belief with few ways."""
    if draw(st.booleans()):
        cause, country = draw(st.sampled_from(sorted(PRIORS))), draw(st.sampled_from(COUNTRIES))
        return prior(country).weights(cause, {}, credit=draw(st.booleans()))
    names = draw(st.lists(st.sampled_from(sorted(PAYDAYS)), min_size=1, max_size=4, unique=True))
    belief = Belief(
        {"unknown": _shares(draw, len(WAYS))},
        dict(zip(names, _shares(draw, len(names)), strict=True)),
        _shares(draw, len(CONVENTIONS)),
        _shares(draw, len(STAYS)),
        _shares(draw, len(BANKS)),
    )
    return belief.weights(next(iter(PRIORS)), {}, credit=False)


def _shares(draw: st.DrawFn, number: int) -> tuple[float, ...]:
    """Shares of a whole: some large, some 0."""
    parts = [draw(st.sampled_from((0, 0, 1, 3, 40))) for _ in range(number)]
    parts[draw(st.integers(0, number - 1))] += 7
    return tuple(part / sum(parts) for part in parts)


@settings(max_examples=50, deadline=None)
@given(
    believed(),
    st.sampled_from(COUNTRIES),
    hours,
    st.lists(st.integers(1, 400), max_size=3, unique=True).map(sorted),
    st.tuples(
        st.sampled_from([1, 20, 60]), st.integers(1, 40), st.integers(0, 12), st.sampled_from([0.001, 0.01, 0.1])
    ),
    st.sampled_from(TIMES),
    st.sampled_from([0, 4]),
    st.integers(0, 3),
)
def test_plans_are_those_of_the_reference(
    weights: Weights,
    country: str | None,
    failed: datetime,
    later: list[int],
    within: tuple[int, int, int, float],
    times: AttemptTimes,
    takes: int,
    followed: int,
) -> None:
    stories, reference = Stories(weights, country, SIZE), Reference(weights, country, SIZE)
    after, days, most, least = within
    until, answer = failed + timedelta(days=days), timedelta(days=takes)
    limits = Limits(timedelta(hours=after), until, most, least, times, country, answer)
    first = plan(stories, [failed], limits)
    assert first == reference.plan([failed], limits)
    as_planned = [failed, *(each.at + timedelta(minutes=7) for each in first[:followed])]
    for declined in (as_planned, [failed, *(failed + timedelta(hours=number) for number in later)]):
        assert plan(stories, declined, limits) == reference.plan(declined, limits)


@settings(max_examples=40, deadline=None)
@given(believed(), st.sampled_from(COUNTRIES), hours, st.integers(0, 24 * 70))
def test_the_same_stories_accept(weights: Weights, country: str | None, failed: datetime, elapsed: int) -> None:
    stories, reference = Stories(weights, country, SIZE), Reference(weights, country, SIZE)
    at = failed + timedelta(hours=elapsed)
    accepting, plainly = stories.accepting(at, failed), reference.accepting(at, failed)
    assert _numbers(accepting) == plainly
    assert _numbers(stories.ruled_out(accepting, at.timestamp())) == reference.ruled_out(plainly, at)
    assert stories.why(accepting[None, :]) == [reference.why(plainly)]


def _numbers(stories: Bits) -> set[int]:
    as_one = int.from_bytes(stories.tobytes(), "little")
    return {number for number in range(SIZE) if as_one >> number & 1}
