"""What was learned, shown to whom it is about; who leaves the pool, and comes back."""

from typing import Any

import pytest

from shared.api_keys import Scope
from shared.ids import MerchantId
from shared.pool import POOL
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

PATH, REPORT = "/v1/learning", "/v1/reports/calibration"
OUT, BACK = f"{PATH}/opt-out", f"{PATH}/opt-in"
KEEP = """
INSERT INTO learned_beliefs (merchant_id, looked_at, learned_at, recoveries, layout, belief, differences)
VALUES ($1, citadel_now(), citadel_now(), $2, 'any', '{}', $3)
"""


def sentence(text: str) -> dict[str, Any]:
    return {"about": "payday", "text": text, "share": 0.54, "expected": 0.03}


async def learned(world: World, merchant_id: MerchantId, recoveries: int, *texts: str) -> None:
    """This was learned of a merchant's customers."""
    await world.execute(KEEP, merchant_id, recoveries, [sentence(text) for text in texts])


async def opted_out(world: World) -> list[str]:
    return [row["merchant_id"] for row in await world.rows("SELECT merchant_id FROM pool_opt_outs ORDER BY 1")]


async def test_a_merchant_is_told_where_its_customers_differ_and_nobody_else_is(api: Api, world: World) -> None:
    mine, other = await world.connect(), await world.connect()
    await learned(world, mine, 300, "Most are paid on the 25th.")
    await learned(world, other, 200, "Most are paid on the 8th.")
    await learned(world, POOL, 2_000, "Banks decline at night.")
    own = api.as_(await world.key(mine))
    for found in ((await own.get(PATH)).body, (await own.get(REPORT)).body["learned"]):
        assert (found["merchant_id"], found["recoveries"], found["in_pool"]) == (mine, 300, True)
        assert found["differences"] == [sentence("Most are paid on the 25th.")]
    for path in (PATH, REPORT):
        assert (await own.get(path, merchant_id=other)).status == 404
        assert "8th" not in str((await own.get(path, merchant_id=mine)).body)


async def test_the_platform_sees_each_merchant_and_the_pool(api: Api, world: World) -> None:
    mine, new = await world.connect(), await world.connect()
    await learned(world, mine, 300, "Most are paid on the 25th.")
    await learned(world, POOL, 2_000, "Banks decline at night.")
    assert (await api.get(PATH, merchant_id=mine)).body["recoveries"] == 300
    pooled = (await api.get(REPORT)).body["learned"]
    assert (pooled["merchant_id"], pooled["recoveries"]) == (None, 2_000)
    assert [each["text"] for each in pooled["differences"]] == ["Banks decline at night."]
    nothing = (await api.get(PATH, merchant_id=new)).body
    assert (nothing["learned_at"], nothing["recoveries"], nothing["differences"]) == (None, None, [])


async def test_what_a_newer_worker_tells_of_is_shown_as_it_says(api: Api, world: World) -> None:
    mine = await world.connect()
    newer = sentence("Most pay at high tide.") | {"about": "tides"}
    await world.execute(KEEP, mine, 300, [newer])
    own = api.as_(await world.key(mine))
    for found in (await own.get(PATH), await own.get(REPORT)):
        assert found.status == 200
    assert (await own.get(PATH)).body["differences"] == [newer]


async def test_a_merchant_leaves_the_pool_and_comes_back(api: Api, world: World) -> None:
    mine, other = await world.connect(), await world.connect()
    own = api.as_(await world.key(mine))
    out = await own.post(OUT, {})
    assert (out.status, out.body["in_pool"]) == (200, False)
    assert (await own.post(OUT, {})).body["opted_out_at"] == out.body["opted_out_at"], "a repeat changes nothing"
    assert (await own.get(PATH)).body["in_pool"] is False
    assert (await api.get(PATH, merchant_id=other)).body["in_pool"] is True
    assert await opted_out(world) == [mine]
    for _ in range(2):
        assert (await own.post(BACK, {})).body["in_pool"] is True
    assert await opted_out(world) == []


@pytest.mark.parametrize("path", [OUT, BACK])
async def test_nobody_speaks_for_another_merchant(api: Api, world: World, path: str) -> None:
    mine, other = await world.connect(), await world.connect()
    own = api.as_(await world.key(mine))
    await api.post(OUT, {"merchant_id": other})
    refused = await own.post(path, {"merchant_id": other})
    assert (refused.status, refused.fields) == (422, ["merchant_id"])
    assert (await api.post(path, {})).fields == ["merchant_id"]
    reading = api.as_(await world.key(mine, Scope.MERCHANTS_READ, Scope.RECOVERIES_READ))
    assert (await reading.post(path, {})).status == 403
    assert (await api.as_(None).post(path, {})).status == 401
    assert await opted_out(world) == [other]


async def test_a_merchant_that_is_gone_is_refused(api: Api, world: World) -> None:
    gone = await world.connect(tokens=False)
    await world.execute("UPDATE merchants SET status = 'disconnected' WHERE id = $1::uuid", gone)
    assert (await api.post(OUT, {"merchant_id": gone})).status == 409
