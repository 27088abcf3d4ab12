"""The room where policies are written, checked, put in force and compared."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.policy import Policy
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

SHORT: dict[str, Any] = {"window_days": 10, "message_days": [0, 3]}


async def test_a_version_is_written_checked_and_put_in_force(api: Api, world: World) -> None:
    merchant = await world.connect()
    made = await api.post("/v1/policies", {"merchant_id": merchant, "document": SHORT, "note": "shorter"})
    assert (made.status, made.body["version"], made.body["active"]) == (201, 1, False)
    assert made.body["document"]["window_days"] == 10
    before = await world.recovery(merchant)
    put = await api.post(f"/v1/policies/{made.body['id']}/activate")
    assert (put.status, put.body["active"]) == (200, True)
    after = await world.recovery(merchant)
    pinned = {
        each: await world.value("SELECT policy_id FROM recoveries WHERE id = $1", each) for each in (before, after)
    }
    assert str(pinned[after]) == made.body["id"]
    assert pinned[before] != pinned[after]
    listed = await api.get("/v1/policies", merchant_id=merchant)
    assert (listed.body["in_force"], len(listed.body["data"])) == (made.body["id"], 1)


async def test_a_refused_document_names_every_place(api: Api) -> None:
    document = {"window_days": 0, "message_days": [3, 0], "driver": "me", "surprise": 1}
    refused = await api.post("/v1/policies", {"document": document})
    assert (refused.status, refused.problem) == (422, "invalid-policy")
    assert set(refused.fields) == {
        "document.window_days",
        "document.message_days",
        "document.driver",
        "document.surprise",
    }
    checked = await api.post("/v1/policy-checks", {"document": document})
    assert checked.body["valid"] is False
    assert {each["place"] for each in checked.body["problems"]} == {
        "window_days",
        "message_days",
        "driver",
        "surprise",
    }
    assert (await api.post("/v1/policy-checks", {"document": {}})).body == {"valid": True, "problems": []}


async def test_a_version_is_rolled_back_and_compared(api: Api, world: World) -> None:
    merchant = await world.connect()
    first, second = [
        (await api.post("/v1/policies", {"merchant_id": merchant, "document": document})).body["id"]
        for document in ({}, SHORT)
    ]
    for each in (first, second):
        await api.post(f"/v1/policies/{each}/activate")
    back = await api.post("/v1/policy-rollbacks", {"merchant_id": merchant})
    assert (back.status, back.body["id"]) == (200, first)
    forth = await api.post("/v1/policy-rollbacks", {"merchant_id": merchant})
    assert forth.body["id"] == second
    diff = await api.get(f"/v1/policies/{first}/diff", other_id=second)
    assert diff.body["data"] == [
        {"place": "window_days", "before": 21, "after": 10},
        {"place": "message_days", "before": [0, 3, 7, 14, 21], "after": [0, 3]},
    ]


async def test_nothing_was_before_the_first_version(api: Api, world: World) -> None:
    refused = await api.post("/v1/policy-rollbacks", {"merchant_id": await world.connect()})
    assert (refused.status, refused.problem) == (409, "nothing-before")


async def test_a_merchant_sees_its_own_and_the_platforms_and_writes_only_its_own(api: Api, world: World) -> None:
    mine, other = await world.connect(), await world.connect()
    theirs = (await api.post("/v1/policies", {"merchant_id": other, "document": {}})).body["id"]
    platforms = (await api.get("/v1/policies")).body["in_force"]
    me = api.as_(await world.key(mine))
    assert (await me.get("/v1/policies")).body["in_force"] == platforms
    assert (await me.get(f"/v1/policies/{platforms}")).status == 200
    assert (await me.post(f"/v1/policies/{platforms}/activate")).status == 403
    for path in (f"/v1/policies/{theirs}", f"/v1/policies/{theirs}/move"):
        assert (await me.get(path)).status == 404
    assert (await me.post("/v1/policies", {"merchant_id": other, "document": {}})).status == 422
    made = await me.post("/v1/policies", {"document": {}})
    assert made.body["merchant_id"] == mine


async def test_what_a_move_would_change_is_shown_and_nothing_moves(api: Api, world: World) -> None:
    merchant = await world.connect()
    recovery = await world.recovery(merchant)
    before = await world.value("SELECT policy_id FROM recoveries WHERE id = $1", recovery)
    target = (await api.post("/v1/policies", {"merchant_id": merchant, "document": SHORT})).body["id"]
    shown = await api.get(f"/v1/policies/{target}/move")
    (move,) = shown.body["data"]
    assert (shown.body["recoveries"], shown.body["ending_at_once"]) == (1, 0)
    assert (move["recovery_id"], move["from_policy"]) == (str(recovery), str(before))
    assert move["window_ends_after"] < move["window_ends_before"]
    assert await world.value("SELECT policy_id FROM recoveries WHERE id = $1", recovery) == before


async def test_the_schema_is_the_one_in_the_documents(api: Api) -> None:
    served = (await api.get("/v1/policy-schema")).body["json_schema"]
    written = orjson.loads((Path(__file__).parents[3] / "docs" / "policy.schema.json").read_bytes())
    assert served == written
    assert set(served["properties"]) == set(Policy.model_fields)


async def _moved(api: Api, world: World, document: dict[str, Any], facts: dict[str, Any] | None = None) -> Any:
    """What a move of a recovery of 10 days and one attempt to this document would change."""
    merchant = await world.connect()
    recovery = await world.recovery(merchant)
    await world.execute(
        "UPDATE recoveries SET opened_at = opened_at - interval '10 days', decline_cause = 'insufficient_funds', "
        "segment_facts = $2 WHERE id = $1",
        recovery,
        facts,
    )
    await world.execute(
        "INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, amount, currency, result) "
        "VALUES ($1, $2, 'citadel', 1, 'key', 1000, 'usd', 'declined')",
        recovery,
        merchant,
    )
    target = await api.post("/v1/policies", {"merchant_id": merchant, "document": document})
    assert target.status == 201, target.body
    (move,) = (await api.get(f"/v1/policies/{target.body['id']}/move")).body["data"]
    return move


HARSH: dict[str, Any] = {"window_days": 2, "max_attempts": 1, "message_days": [0]}
PATIENT: dict[str, Any] = {"window_days": 30, "max_attempts": 8, "message_days": [0]}


@pytest.mark.parametrize(
    ("when", "facts"),
    [
        ({"currencies": ["usd"]}, None),
        ({"amount_at_least": {"usd": 500}}, None),
        ({"causes": ["insufficient_funds"]}, None),
        ({"countries": ["DE"]}, {"country": "DE"}),
        ({"products": ["prod_1"]}, {"products": ["prod_0", "prod_1"]}),
        ({"prices": ["price_1"]}, {"prices": ["price_1"]}),
        ({"tenure_days_at_least": 365}, {"subscribed_at": "2020-01-01T00:00:00+00:00"}),
    ],
)
async def test_a_move_counts_by_the_segment_that_the_brain_would_take(
    api: Api, world: World, when: dict[str, Any], facts: dict[str, Any] | None
) -> None:
    document = {**HARSH, "segments": [{"name": "patient", "when": when, "then": PATIENT}]}
    move = await _moved(api, world, document, facts)
    assert (move["ends_at_once"], move["attempts_left_after"]) == (False, 7)
    days = datetime.fromisoformat(move["window_ends_after"]) - datetime.fromisoformat(move["window_ends_before"])
    assert days == timedelta(days=30 - 21)


async def test_a_move_to_a_harsh_policy_ends_what_no_segment_saves(api: Api, world: World) -> None:
    segments = [{"name": "patient", "when": {"products": ["prod_1"]}, "then": PATIENT}]
    move = await _moved(api, world, {**HARSH, "segments": segments})
    assert (move["ends_at_once"], move["attempts_left_after"]) == (True, 0)
