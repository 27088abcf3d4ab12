"""What a merchant's past teaches: in the order of time, nothing of the compared customers, and never past the rules."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from console.evaluation import learning
from console.evaluation.learning import REMEMBERED, as_learned, learn
from console.evaluation.population import FIRST_DAY, Kind, Population
from console.evaluation.simulate import simulate
from console.evaluation.strategies import Brain
from console.evaluation.worlds import as_made
from services.worker.recovery import DeclineCause, Policy, Timing
from services.worker.recovery.attempt_times import next_open
from services.worker.recovery.estimator import Estimator, Observed
from shared.policy import AttemptTimes

DEFAULT = Policy.model_validate({"schema_version": 4})
"""Fixed schedules, whose hours the estimator picks."""
EVE = datetime.combine(FIRST_DAY, datetime.min.time(), UTC).timestamp()
KINDS = [each.kind for each in islice(Population(as_made(), 9), 400)]


def _observed(cause: DeclineCause, *, succeeded: bool) -> Observed:
    return Observed(cause, datetime(2026, 1, 1, 10, tzinfo=UTC), succeeded)


def test_only_what_was_tried_before_is_known_and_only_the_last_of_it() -> None:
    cause = DeclineCause.TRY_LATER
    before = [(EVE - n, _observed(cause, succeeded=False)) for n in range(REMEMBERED + 5, 0, -1)]
    later = [(EVE + n, _observed(cause, succeeded=True)) for n in range(10)]
    estimator, known = learning._learned([*later, *before], EVE)
    assert known == REMEMBERED
    assert estimator.counts[cause] == (REMEMBERED, 0)


def test_a_lesson_is_the_seed_s_own_and_always_the_same() -> None:
    lessons = [learn(DEFAULT, 200, seed, as_made()).first for seed in (1, 1, 2)]
    plans = [
        [[step.at for step in Brain("b", as_learned(DEFAULT), each.timing).plan(kind).attempts] for kind in KINDS[:40]]
        for each in lessons
    ]
    assert lessons[0].retries == lessons[1].retries != lessons[2].retries
    assert plans[0] == plans[1]


def test_little_data_changes_nothing() -> None:
    for failures in (0, 40):
        timing = learn(DEFAULT, failures, 3, as_made()).first.timing
        result = simulate(
            [Brain("rules", DEFAULT), Brain("learned", as_learned(DEFAULT), timing)],
            failures=1_500,
            seed=3,
            world=as_made(),
        )
        assert result.tallies["learned"] == result.tallies["rules"]


def test_much_data_costs_nothing_that_matters() -> None:
    """The model is not what the estimator was made for: it may gain nothing, and it must not lose paydays again."""
    lesson = learn(DEFAULT, 1_200, 1, as_made()).first
    strategies = [Brain("rules", DEFAULT), Brain("learned", as_learned(DEFAULT), lesson.timing)]
    result = simulate(strategies, failures=4_000, seed=1, world=as_made())
    assert lesson.retries > 1_000
    assert result.tallies["learned"].breaches == 0
    assert result.against["learned"].share < 0.005


@st.composite
def _pasts(draw: st.DrawFn) -> list[Observed]:
    """Retries of which some hours, weekdays or days of the month did far better than others."""
    good = draw(st.sampled_from(["hour", "weekday", "day"])), draw(st.integers(0, 23))
    past = []
    for n in range(draw(st.integers(0, 1_500))):
        at = datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=7 * n)
        is_good = (at.weekday() if good[0] == "weekday" else getattr(at, good[0])) == good[1]
        past.append(Observed(list(DeclineCause)[n % len(DeclineCause)], at, is_good))
    return past


@settings(max_examples=60)
@given(
    past=_pasts(),
    kind=st.sampled_from(KINDS),
    times=st.sampled_from(
        [
            AttemptTimes(),
            AttemptTimes(quiet_from=22, quiet_until=7, weekdays=("monday", "tuesday", "friday")),
            AttemptTimes(zone="Asia/Tokyo", quiet_from=9, quiet_until=17),
        ]
    ),
)
def test_a_learned_attempt_stays_within_the_rules_whatever_was_learned(
    past: list[Observed], kind: Kind, times: AttemptTimes
) -> None:
    policy = as_learned(DEFAULT).model_copy(update={"attempt_times": times})
    plan = Brain("learned", policy, Timing(Estimator.learn(past))).plan(kind)
    steps = list(plan.attempts)
    assert not any(step.breach for step in steps)
    assert len(steps) <= policy.max_attempts
    gap = timedelta(hours=policy.minimum_gap_hours).total_seconds()
    for earlier, later in pairwise([kind.opened_at, *(step.at for step in steps)]):
        assert later - earlier >= gap
    for step in steps:
        at = datetime.fromtimestamp(step.at, UTC)
        assert step.at < plan.ends
        assert next_open(times, at, kind.country) == at


ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe")


@settings(max_examples=200, deadline=None)
@given(
    past=st.lists(
        st.builds(
            Observed,
            st.just(DeclineCause.TRY_LATER),
            st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 8)),  # noqa: DTZ001 - what is learned is local
            st.booleans(),
        ),
        min_size=300,
        max_size=600,
    ),
    asked=st.lists(
        st.tuples(st.integers(0, 365 * 86_400), st.integers(-40 * 3600, 0), st.integers(-3600, 60 * 3600)),
        min_size=1,
        max_size=20,
    ),
    zone=st.sampled_from(ZONES),
)
def test_a_remembered_answer_is_the_answer(past: list[Observed], asked: list[tuple[int, int, int]], zone: str) -> None:
    estimator = Estimator.learn(past)
    timing = learning.remembering(estimator)
    for after, earliest, latest in asked:
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=after, microseconds=after % 1_000_000)
        between = at + timedelta(seconds=earliest), at + timedelta(seconds=latest)
        question = DeclineCause.TRY_LATER, at, between, ZoneInfo(zone)
        assert timing.pick(*question) == timing.pick(*question) == estimator.pick(*question)
