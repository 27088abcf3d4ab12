"""The policy document: what is stored comes back, and what is not built is not accepted."""

import orjson
import pytest
from pydantic import ValidationError

from services.worker.recovery import Policy


def test_the_default_is_what_the_product_promises() -> None:
    policy = Policy.default()
    assert (policy.max_attempts, policy.window_days, policy.message_days) == (8, 21, (0, 3, 7, 14, 21))
    assert policy.end_action == "leave"


def test_a_policy_survives_the_database() -> None:
    stored = orjson.dumps(Policy(max_attempts=3, window_days=10, message_days=(1, 9)).model_dump(mode="json"))
    assert Policy.model_validate(orjson.loads(stored)) == Policy(max_attempts=3, window_days=10, message_days=(1, 9))
    assert Policy.model_validate({}) == Policy.default()


@pytest.mark.parametrize(
    "document",
    [
        {"schema_version": 5},
        {"driver": "nobody"},
        {"end_action": "delete"},
        {"max_attempts": 0},
        {"max_attempts": 21},
        {"window_days": 0},
        {"window_days": 61},
        {"message_days": [3, 0]},
        {"message_days": [0, 0]},
        {"message_days": [-1]},
        {"message_days": [0, 22]},
        {"minimum_gap_hours": 0},
        {"quiet_hours_around_stripe": 0},
        {"schedules": {"lost_or_stolen": {"kind": "delays", "hours": [1]}}},
        {"schedules": {"try_later": {"kind": "delays", "hours": []}}},
        {"schedules": {"try_later": {"kind": "delays", "hours": [0]}}},
        {"schedules": {"try_later": {"kind": "whenever"}}},
        {"schedules": {"try_later": {"hours": [1]}}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_policy_that_cannot_be_kept_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate(document)


def test_a_policy_never_changes() -> None:
    policy = Policy.default()
    with pytest.raises(ValidationError):
        policy.max_attempts = 9  # type: ignore[misc]  # the refusal at run time is the subject
