"""Policies as the API takes and shows them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field, JsonValue

from services.ledger.api.fields import (
    RowId,
)
from services.ledger.api.schemas import Body, Incoming, Outgoing
from shared import ids
from shared.recovery_model import RecoveryState


class OnePolicy(Incoming):
    """Which version of a policy."""

    policy_id: RowId


class TwoPolicies(OnePolicy):
    """Which two versions."""

    other_id: RowId


class PolicyDocument(Body):
    """A policy document that is checked and not written."""

    document: dict[str, JsonValue] = Field(description="as `GET /v1/policy-schema` describes it")


class PolicyCreate(PolicyDocument):
    """The next version of a policy."""

    merchant_id: RowId | None = Field(None, description="with a key of the platform; without it, the platform's own")
    note: str | None = Field(
        None, max_length=500, description="what the version is for; no personal data", pattern=r"^[^\u0000]*$"
    )


class PolicyOwner(Body):
    """Whose policy."""

    merchant_id: RowId | None = Field(None, description="with a key of the platform; without it, the platform's own")


class PolicyVersion(Outgoing):
    """One version of a policy. Its document never changes."""

    id: UUID
    merchant_id: ids.MerchantId | None = Field(
        description="null: the platform's, which holds for merchants without one in force"
    )
    version: int
    active: bool = Field(description="whether it is its owner's version in force")
    note: str | None
    created_at: datetime
    activated_at: datetime | None = Field(description="when it was last put in force")
    document: dict[str, Any]


class PolicyVersions(Outgoing):
    """The versions of one owner, newest first, at most a hundred."""

    merchant_id: ids.MerchantId | None = Field(description="null: the platform")
    in_force: UUID | None = Field(description="the version that new recoveries are opened under; it may be another's")
    data: list[PolicyVersion]


class PolicyProblem(Outgoing):
    """What is wrong in a policy, and where; an empty place is the whole document."""

    place: str
    message: str


class PolicyCheck(Outgoing):
    """Whether a document is a valid policy, and all its problems."""

    valid: bool
    problems: list[PolicyProblem]


class PolicyChange(Outgoing):
    """A place in the document, and its value in each version; null where there is none."""

    place: str
    before: JsonValue
    after: JsonValue


class DifferencesOfPolicies(Outgoing):
    """All differences between two versions, in the order of the document."""

    before: UUID
    after: UUID
    data: list[PolicyChange]


class PolicyMove(Outgoing):
    """What a move changes for one recovery. `ends_at_once`: under the new rules its window or attempts are used up."""

    recovery_id: ids.RecoveryId
    invoice_id: ids.InvoiceId
    state: RecoveryState
    from_policy: UUID
    from_version: int
    window_ends_before: datetime
    window_ends_after: datetime
    attempts_left_before: int
    attempts_left_after: int
    ends_at_once: bool


class PolicyMoves(Outgoing):
    """The open recoveries that a move would put under a version; `data` has the first hundred."""

    policy_id: UUID
    recoveries: int
    ending_at_once: int
    data: list[PolicyMove]


class PolicySchema(Outgoing):
    """The policy document as JSON Schema (draft 2020-12)."""

    json_schema: dict[str, Any]
