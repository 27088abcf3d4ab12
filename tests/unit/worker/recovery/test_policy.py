"""The policy document: what is stored comes back, and what is not built is not accepted."""

import orjson
import pytest
from pydantic import ValidationError

from services.worker.recovery import Delays, Paydays, Policy
from shared.policy import LikeliestHour


def test_the_default_is_what_the_product_promises() -> None:
    policy = Policy.default()
    assert (policy.max_attempts, policy.window_days, policy.message_days) == (15, 21, (0, 3, 7, 14, 21))
    assert (policy.timing, policy.believes) == ("learned", True)
    assert policy.message_hours == LikeliestHour()
    assert policy.end_action == "leave"


def test_a_policy_survives_the_database() -> None:
    stored = orjson.dumps(Policy(max_attempts=3, window_days=10, message_days=(1, 9)).model_dump(mode="json"))
    assert Policy.model_validate(orjson.loads(stored)) == Policy(max_attempts=3, window_days=10, message_days=(1, 9))
    assert Policy.model_validate({}) == Policy.default()


@pytest.mark.parametrize("schema", [1, 2, 3, 4])
def test_older_documents_keep_their_schedules(schema: int) -> None:
    policy = Policy.model_validate({"schema_version": schema})
    assert (policy.max_attempts, policy.timing, policy.believes) == (8, "rules", False)
    assert policy.schedules.insufficient_funds == Paydays()
    assert policy.schedules.try_later == Delays(hours=(2, 8, 24, 48, 72, 96, 120))
    given = {"schema_version": schema, "max_attempts": 3, "schedules": {"unknown": {"kind": "delays", "hours": [9]}}}
    own = Policy.model_validate(given)
    assert own.schedules == policy.schedules.model_copy(update={"unknown": Delays(hours=(9,))})
    assert Policy.model_validate(own.model_dump(mode="json")) == own


@pytest.mark.parametrize(
    "document",
    [
        {"schema_version": 7},
        {"message_hours": {"kind": "whenever"}},
        {"message_hours": {"kind": "window", "from_hour": 8, "until_hour": 8}},
        {"message_hours": {"kind": "window", "zone": "Nowhere"}},
        {"message_hours": {"kind": "any", "from_hour": 8}},
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
