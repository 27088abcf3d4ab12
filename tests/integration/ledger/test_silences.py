"""Customers who are not written to, and the cards that customers were told of."""

from typing import Any

import pytest

from shared.api_keys import Scope
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

INSERT_WARNING = """
INSERT INTO card_warnings (merchant_id, customer_id, payment_method_id, exp_year, exp_month, warned_at)
VALUES ($1, $2, $3, 2026, 9, $4::text::timestamptz)
"""


async def followed(world: World) -> list[tuple[str, str, str]]:
    """(merchant, customer, change) of each task that carries a change on."""
    async with world.database.transaction() as db:
        rows = await db.fetch(
            "SELECT merchant_id, payload FROM scheduled_tasks WHERE task_type = 'follow_silence' ORDER BY id"
        )
    return [(row["merchant_id"], row["payload"]["customer_id"], row["payload"]["change"]) for row in rows]


async def test_a_silence_is_added_listed_and_lifted(api: Api, world: World) -> None:
    merchant = await world.connect()
    mine = api.as_(await world.key(merchant))

    added = await mine.post("/v1/silences", {"customer_id": "cus_1"})
    assert (added.status, added.body) == (200, {"changed": 1, "more": False})
    (listed,) = (await mine.get("/v1/silences")).body["data"]
    assert (listed["merchant_id"], listed["customer_id"], listed["reason"]) == (merchant, "cus_1", "opted_out")
    lifted = await mine.post("/v1/silences/end", {"customer_id": "cus_1"})
    assert lifted.body == {"changed": 1, "more": False}
    assert (await mine.get("/v1/silences")).body == {"data": [], "next_cursor": None}
    assert await followed(world) == [(merchant, "cus_1", "silenced"), (merchant, "cus_1", "lifted")]


async def test_repeating_it_changes_nothing_and_queues_nothing(api: Api, world: World) -> None:
    mine = api.as_(await world.key(await world.connect()))
    for changed in (1, 0, 0):
        assert (await mine.post("/v1/silences", {"customer_id": "cus_1"})).body["changed"] == changed
    for changed in (1, 0):
        assert (await mine.post("/v1/silences/end", {"customer_id": "cus_1"})).body["changed"] == changed
    assert len(await followed(world)) == 2


async def test_a_repeat_under_its_key_answers_the_same(api: Api, world: World) -> None:
    mine = api.as_(await world.key(await world.connect()))
    first = await mine.post("/v1/silences", {"customer_id": "cus_1"}, Idempotency_Key="k")
    again = await mine.post("/v1/silences", {"customer_id": "cus_1"}, Idempotency_Key="k")
    assert first.body == again.body == {"changed": 1, "more": False}
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await mine.post("/v1/silences", {"customer_id": "cus_2"}, Idempotency_Key="k")
    assert (other.status, other.problem) == (422, "idempotency-key-reused")


async def test_one_reason_is_lifted_or_all(api: Api, world: World) -> None:
    mine = api.as_(await world.key(await world.connect()))
    for reason in ("opted_out", "complained", "bounced"):
        await mine.post("/v1/silences", {"customer_id": "cus_1", "reason": reason})
    only = await mine.post("/v1/silences/end", {"customer_id": "cus_1", "reason": "bounced"})
    assert only.body["changed"] == 1
    left = (await mine.get("/v1/silences", customer_id="cus_1")).body["data"]
    assert [each["reason"] for each in left] == ["complained", "opted_out"]
    assert (await mine.post("/v1/silences/end", {"customer_id": "cus_1"})).body["changed"] == 2


async def test_pages_hold_every_silence_once_while_others_come_in(api: Api, world: World) -> None:
    mine = api.as_(await world.key(await world.connect()))
    for number in range(5):
        await mine.post("/v1/silences", {"customer_id": f"cus_{number}"})
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await mine.get("/v1/silences", **query)).body
        seen += [each["customer_id"] for each in page["data"]]
        await mine.post("/v1/silences", {"customer_id": f"cus_new_{len(seen)}"})
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [f"cus_{number}" for number in reversed(range(5))]


async def test_nobody_reaches_another_merchants_customers(api: Api, world: World) -> None:
    merchant, other = await world.connect(), await world.connect()
    mine, stranger = api.as_(await world.key(merchant)), api.as_(await world.key(other))
    await mine.post("/v1/silences", {"customer_id": "cus_1"})
    await world.execute(INSERT_WARNING, merchant, "cus_1", "pm_1", "2026-08-01")

    for path in ("/v1/silences", "/v1/card-warnings"):
        assert (await stranger.get(path)).body["data"] == []
        assert (await stranger.get(path, merchant_id=merchant)).status == 404
        assert (await mine.get(path, customer_id="cus_1")).body["data"] != []
    for path in ("/v1/silences", "/v1/silences/end"):
        named = await stranger.post(path, {"customer_id": "cus_1", "merchant_id": merchant})
        assert (named.status, named.fields) == (422, ["merchant_id"])
    assert (await stranger.post("/v1/silences/end", {"customer_id": "cus_1"})).body["changed"] == 0
    assert len((await mine.get("/v1/silences")).body["data"]) == 1
    reader = api.as_(await world.key(merchant, Scope.MESSAGES_READ))
    assert (await reader.post("/v1/silences", {"customer_id": "cus_2"})).status == 403
    blind = api.as_(await world.key(merchant, Scope.RECOVERIES_READ))
    assert (await blind.get("/v1/silences")).status == 403


async def test_a_platforms_key_names_the_merchant(api: Api, world: World) -> None:
    merchant = await world.connect()
    unnamed = await api.post("/v1/silences", {"customer_id": "cus_1"})
    assert (unnamed.status, unnamed.fields) == (422, ["merchant_id"])
    assert (await api.post("/v1/silences", {"customer_id": "cus_1", "merchant_id": merchant})).body["changed"] == 1
    assert (await api.get("/v1/silences")).body["data"][0]["merchant_id"] == merchant
    await world.execute("UPDATE merchants SET status = 'deauthorized', access_token = NULL, refresh_token = NULL")
    gone = await api.post("/v1/silences", {"customer_id": "cus_2", "merchant_id": merchant})
    assert (gone.status, gone.problem) == (409, "merchant-not-active")


@pytest.mark.parametrize("wrong", ["ada@example.com", "cus_", "cus_ä", "in_1", "", None, 7])
async def test_a_customer_is_stripes_id_and_never_an_address(api: Api, world: World, wrong: Any) -> None:
    mine = api.as_(await world.key(await world.connect()))
    for path in ("/v1/silences", "/v1/silences/end"):
        refused = await mine.post(path, {"customer_id": wrong})
        assert (refused.status, refused.fields) == (422, ["customer_id"])
    assert (await mine.post("/v1/silences", {"customer_id": "cus_1", "reason": "dislike"})).fields == ["reason"]
    assert await world.value("SELECT count(*) FROM silenced_customers") == 0


async def test_card_warnings_are_listed_and_shown_with_the_recovery_that_followed(api: Api, world: World) -> None:
    merchant = await world.connect()
    recovery = await world.recovery(merchant)
    customer = await world.value("SELECT customer_id FROM recoveries WHERE id = $1", recovery)
    await world.execute(INSERT_WARNING, merchant, customer, "pm_old", "2026-08-01")
    await world.execute(INSERT_WARNING, merchant, "cus_other", "pm_other", "2026-08-02")
    await world.execute(INSERT_WARNING, await world.connect(), customer, "pm_elsewhere", "2026-08-03")

    listed = (await api.get("/v1/card-warnings", merchant_id=merchant)).body["data"]
    assert [each["payment_method_id"] for each in listed] == ["pm_other", "pm_old"]
    assert (listed[1]["exp_year"], listed[1]["exp_month"]) == (2026, 9)
    assert listed[1]["warned_at"].startswith("2026-08-01T00:00:00")
    story = (await api.get(f"/v1/recoveries/{recovery}")).body
    assert [each["payment_method_id"] for each in story["card_warnings"]] == ["pm_old"]

    await world.recovered(recovery)
    await world.execute(INSERT_WARNING, merchant, customer, "pm_new", "2099-01-01")
    story = (await api.get(f"/v1/recoveries/{recovery}")).body
    assert [each["payment_method_id"] for each in story["card_warnings"]] == ["pm_old"]
    page = (await api.get("/v1/card-warnings", limit=1)).body
    following = (await api.get("/v1/card-warnings", limit=3, cursor=page["next_cursor"])).body
    assert len(following["data"]) == 3
    assert following["next_cursor"] is None
