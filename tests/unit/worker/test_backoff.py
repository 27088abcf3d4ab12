"""When a failed task runs again, and what its row says of the failure."""

from datetime import timedelta

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.backoff import RetryPolicy
from services.worker.errors import (
    BadPayload,
    MerchantUnreachable,
    Permanent,
    Refused,
    RetryLater,
    UnknownTaskType,
    judge,
)
from services.worker.handlers.send_weekly_digest import WEEK, following
from shared.database import DatabaseAway
from tests.unit.worker.moments import moments

policies = st.builds(
    RetryPolicy,
    base=st.timedeltas(timedelta(milliseconds=1), timedelta(minutes=1)),
    factor=st.floats(1, 10),
    longest=st.timedeltas(timedelta(minutes=1), timedelta(days=1)),
    jitter=st.floats(0, 1),
)
draws = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(1, 10_000), draws)
def test_a_delay_is_positive_and_never_above_its_ceiling(policy: RetryPolicy, attempt: int, draw: float) -> None:
    delay = policy.delay(attempt, draw)
    assert timedelta() <= delay <= policy.ceiling(attempt) <= policy.longest


@given(policies, st.integers(1, 200))
def test_ceilings_rise(policy: RetryPolicy, attempt: int) -> None:
    assert policy.ceiling(attempt) <= policy.ceiling(attempt + 1)


@given(policies, st.integers(1, 50))
def test_the_ceiling_is_exponential_until_the_longest(policy: RetryPolicy, attempt: int) -> None:
    exact = policy.base.total_seconds() * policy.factor ** (attempt - 1)
    expected = min(exact, policy.longest.total_seconds())
    assert policy.ceiling(attempt).total_seconds() == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_without_jitter_nothing_is_drawn() -> None:
    policy = RetryPolicy(base=timedelta(seconds=5), factor=2, jitter=0)
    assert [policy.delay(n, 0.9).total_seconds() for n in (1, 2, 3)] == [5, 10, 20]


@pytest.mark.parametrize(
    "wrong", [{"factor": 0.5}, {"jitter": 2.0}, {"base": timedelta()}, {"base": timedelta(days=9)}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]  # wrong on purpose


@given(moments, moments)
def test_the_next_digest_is_ahead_and_keeps_its_hour(was_due: object, now: object) -> None:
    nxt = following(was_due, now)  # type: ignore[arg-type]  # hypothesis gives datetimes
    assert nxt > was_due  # type: ignore[operator]  # as above
    assert (nxt - was_due) % WEEK == timedelta()  # type: ignore[operator]  # as above
    assert nxt > now or nxt - was_due == WEEK  # type: ignore[operator]  # as above


PERSONAL = "jane.doe@example.com of 12 Main Street"


@pytest.mark.parametrize(
    ("error", "final", "counts"),
    [
        (RetryLater("stripe: 500"), False, True),
        (RetryLater("stripe: 429", counts=False), False, False),
        (Permanent("no"), True, True),
        (BadPayload("payload"), True, True),
        (UnknownTaskType("x"), True, True),
        (Refused("stripe: 400", status=400), True, True),
        (MerchantUnreachable("stripe: 403"), False, False),
        (DatabaseAway(PERSONAL), False, False),
        (asyncpg.DeadlockDetectedError(PERSONAL), False, True),
        (asyncpg.UniqueViolationError(PERSONAL), False, True),
        (ValueError(PERSONAL), False, True),
    ],
)
def test_every_error_has_a_verdict_that_tells_nothing_personal(error: Exception, final: bool, counts: bool) -> None:
    verdict = judge(error)
    assert (verdict.final, verdict.counts) == (final, counts)
    assert "jane" not in verdict.reason
    assert len(verdict.reason) < 200
