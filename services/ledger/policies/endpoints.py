"""Policies: the versions of a merchant's rules, and which of them is in force.

A merchant's key sees its own versions and the platform's, which apply if it has none; it writes its own. A platform's
key writes the platform's versions, or those of the merchant that it names. Open recoveries are moved by an operator's
command (`citadel policy move`); the API only shows what a move would change.
"""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from services.ledger.api.endpoint import Call, Endpoint, KeyUse
from services.ledger.api.schemas import NoBody, NoParameters, OfMerchant
from services.ledger.api.tenancy import NO_MERCHANT, merchant_to_write, visible_merchant
from services.ledger.policies.schemas import (
    DifferencesOfPolicies,
    OnePolicy,
    PolicyChange,
    PolicyCheck,
    PolicyCreate,
    PolicyDocument,
    PolicyMoves,
    PolicyOwner,
    PolicySchema,
    PolicyVersion,
    PolicyVersions,
    TwoPolicies,
)
from shared.api_keys import ApiKey, Scope, sees
from shared.database import Connection
from shared.http import Problem, invalid
from shared.ids import MerchantId
from shared.policy import PolicyRefused, differences, json_schema, problems_of, read_policy, store
from shared.policy.store import Version


def _shown(version: Version) -> PolicyVersion:
    return PolicyVersion(
        id=version.id,
        merchant_id=version.merchant_id,
        version=version.version,
        active=version.active,
        note=version.note,
        created_at=version.created_at,
        activated_at=version.activated_at,
        document=version.policy.model_dump(mode="json"),
    )


def _not_found() -> Problem:
    return Problem(404, "not-found", "There is no such policy.")


async def _visible(db: Connection, key: ApiKey, policy_id: UUID) -> Version:
    try:
        version = await store.find(db, policy_id)
    except LookupError:
        raise _not_found() from None
    if version.merchant_id is not None and not sees(key, version.merchant_id):
        raise _not_found()
    return version


async def _writable(db: Connection, key: ApiKey, policy_id: UUID) -> Version:
    version = await _visible(db, key, policy_id)
    if key.merchant_id is not None and version.merchant_id != key.merchant_id:
        raise Problem(403, "not-yours", "The platform's policies are the platform's to change.")
    return version


async def _owner(db: Connection, key: ApiKey, asked: UUID | None) -> MerchantId | None:
    """The owner of the policy: the named merchant, the key's own merchant, or the platform."""
    if asked is None and key.merchant_id is None:
        return None
    return await merchant_to_write(db, key, asked)


async def list_policies(call: Call[OfMerchant, NoBody]) -> PolicyVersions:
    """The owner's newest hundred versions, and the one that is in force for new recoveries."""
    merchant_id = await visible_merchant(call.db, call.key, call.parameters.merchant_id)
    own = await store.versions(call.db, merchant_id)
    current = await store.in_force(call.db, merchant_id) or await store.in_force(call.db, None)
    in_force = None if current is None else current.id
    return PolicyVersions(merchant_id=merchant_id, in_force=in_force, data=[_shown(each) for each in own])


async def get_policy(call: Call[OnePolicy, NoBody]) -> PolicyVersion:
    """One version. Raises Problem 404."""
    return _shown(await _visible(call.db, call.key, call.parameters.policy_id))


async def create_policy(call: Call[NoParameters, PolicyCreate]) -> PolicyVersion:
    """Write the next version; it is not in force yet. Raises Problem 422 with every problem and its place."""
    merchant_id = await _owner(call.db, call.key, call.body.merchant_id)
    try:
        policy = read_policy(call.body.document)
    except PolicyRefused as refused:
        places = [(f"document.{each.place}" if each.place else "document", each.message) for each in refused.problems]
        raise invalid(422, "invalid-policy", places) from None
    return _shown(await store.create(call.db, merchant_id, policy, call.body.note))


async def check_policy(call: Call[NoParameters, PolicyDocument]) -> PolicyCheck:
    """Every problem of a document with its place; writes nothing."""
    problems = problems_of(call.body.document)
    found = [{"place": each.place, "message": each.message} for each in problems]
    return PolicyCheck.model_validate({"valid": not problems, "problems": found})


async def activate_policy(call: Call[OnePolicy, NoBody]) -> PolicyVersion:
    """Put a version in force for recoveries that open from now on. Raises Problem 404, 403."""
    version = await _writable(call.db, call.key, call.parameters.policy_id)
    return _shown(await store.activate(call.db, version))


async def roll_back_policy(call: Call[NoParameters, PolicyOwner]) -> PolicyVersion:
    """Put the previous version in force again. Raises Problem 409 when there was none."""
    merchant_id = await _owner(call.db, call.key, call.body.merchant_id)
    try:
        return _shown(await store.roll_back(call.db, merchant_id))
    except LookupError:
        raise Problem(409, "nothing-before", "No other version was in force before.") from None


async def diff_policies(call: Call[TwoPolicies, NoBody]) -> DifferencesOfPolicies:
    """The differences between two versions, value by value. Raises Problem 404."""
    before = await _visible(call.db, call.key, call.parameters.policy_id)
    after = await _visible(call.db, call.key, call.parameters.other_id)
    found = differences(before.policy, after.policy)
    changes = [PolicyChange(place=each.place, before=each.before, after=each.after) for each in found]
    return DifferencesOfPolicies(before=before.id, after=after.id, data=changes)


async def preview_move(call: Call[OnePolicy, NoBody]) -> PolicyMoves:
    """What `citadel policy move` would change. Raises Problem 404, 403."""
    version = await _writable(call.db, call.key, call.parameters.policy_id)
    moves = await store.moves_to(call.db, version)
    ending = sum(each.ends_at_once for each in moves)
    return PolicyMoves.model_validate(
        {
            "policy_id": version.id,
            "recoveries": len(moves),
            "ending_at_once": ending,
            "data": [asdict(each) for each in moves[:100]],
        }
    )


async def policy_schema(_call: Call[NoParameters, NoBody]) -> PolicySchema:
    """The document as JSON Schema."""
    return PolicySchema.model_validate({"json_schema": json_schema()})


_NO_POLICY = "There is no such policy, or it is another tenant's."
_NOT_YOURS = "The scope is missing, or the policy is the platform's and the key a merchant's."

ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="listPolicies",
        method="GET",
        path="/v1/policies",
        scope=Scope.POLICIES_READ,
        summary="The versions of a policy, newest first, and which one is in force",
        description="A merchant's own, or with a platform's key and without `merchant_id` the platform's.",
        handler=list_policies,
        parameters=OfMerchant,
        body=NoBody,
        answer=PolicyVersions,
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="createPolicy",
        method="POST",
        path="/v1/policies",
        scope=Scope.POLICIES_WRITE,
        summary="Write the next version of a policy",
        description="It is not in force until it is activated. What is wrong with it is told all at once, by place.",
        handler=create_policy,
        parameters=NoParameters,
        body=PolicyCreate,
        answer=PolicyVersion,
        status=201,
        key_use=KeyUse.OPTIONAL,
        located="/v1/policies/{id}",
        refusals={409: "The merchant is not connected any more."},
    ),
    Endpoint(
        name="checkPolicy",
        method="POST",
        path="/v1/policy-checks",
        scope=Scope.POLICIES_READ,
        summary="Every problem of a policy document, with its place",
        description="Nothing is written.",
        handler=check_policy,
        parameters=NoParameters,
        body=PolicyDocument,
        answer=PolicyCheck,
    ),
    Endpoint(
        name="rollBackPolicy",
        method="POST",
        path="/v1/policy-rollbacks",
        scope=Scope.POLICIES_WRITE,
        summary="Put the version in force again that was before this one",
        description="For recoveries that open from now on; those in flight keep theirs.",
        handler=roll_back_policy,
        parameters=NoParameters,
        body=PolicyOwner,
        answer=PolicyVersion,
        key_use=KeyUse.OPTIONAL,
        refusals={409: "No other version was in force before, or the merchant is not connected any more."},
    ),
    Endpoint(
        name="getPolicySchema",
        method="GET",
        path="/v1/policy-schema",
        scope=Scope.POLICIES_READ,
        summary="The policy document as JSON Schema",
        description="The same as `docs/policy.schema.json`.",
        handler=policy_schema,
        parameters=NoParameters,
        body=NoBody,
        answer=PolicySchema,
    ),
    Endpoint(
        name="getPolicy",
        method="GET",
        path="/v1/policies/{policy_id}",
        scope=Scope.POLICIES_READ,
        summary="One version of a policy",
        description="The platform's versions are for everybody to read.",
        handler=get_policy,
        parameters=OnePolicy,
        body=NoBody,
        answer=PolicyVersion,
        refusals={404: _NO_POLICY},
    ),
    Endpoint(
        name="activatePolicy",
        method="POST",
        path="/v1/policies/{policy_id}/activate",
        scope=Scope.POLICIES_WRITE,
        summary="Put a version in force for recoveries that open from now on",
        description="Recoveries in flight stay on theirs. It takes no body; repeating it changes nothing.",
        handler=activate_policy,
        parameters=OnePolicy,
        body=NoBody,
        answer=PolicyVersion,
        refusals={403: _NOT_YOURS, 404: _NO_POLICY},
    ),
    Endpoint(
        name="diffPolicies",
        method="GET",
        path="/v1/policies/{policy_id}/diff",
        scope=Scope.POLICIES_READ,
        summary="What is different from one version to another",
        description="`other_id` is the later one. Value by value, in the order of the document.",
        handler=diff_policies,
        parameters=TwoPolicies,
        body=NoBody,
        answer=DifferencesOfPolicies,
        refusals={404: _NO_POLICY},
    ),
    Endpoint(
        name="previewPolicyMove",
        method="GET",
        path="/v1/policies/{policy_id}/move",
        scope=Scope.POLICIES_READ,
        summary="What would change if the recoveries in flight were moved to a version",
        description="Nothing is moved: that is `citadel policy move`.",
        handler=preview_move,
        parameters=OnePolicy,
        body=NoBody,
        answer=PolicyMoves,
        refusals={403: _NOT_YOURS, 404: _NO_POLICY},
    ),
)
