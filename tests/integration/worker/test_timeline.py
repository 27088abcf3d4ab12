"""Every decision of whole recoveries tells its rule, its inputs, the roads not taken and why, and the next step; at
the API and at the console alike."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from asyncpg import Record

from console.recovery import told
from services.ledger.app import make_ledger_app
from services.ledger.recoveries.schemas import RecoveryStory
from shared import recovery_stops
from shared.api_keys import Scope, hash_secret, new_secret
from shared.database import Role
from shared.money import Money
from shared.recovery_model import EndReason, Entry, EntryKind
from tests.conftest import OpenDatabase
from tests.integration.worker.world import Failed, World

DECISIONS = ("decided", "attempted", "messaged", "printed", "closed", "stop_requested")


def lacking(rows: Sequence[Record | dict[str, Any]]) -> list[tuple[str, str, str]]:
    """(kind, rule, what it lacks) of every decision that does not tell everything."""
    wrong = []
    for row in rows:
        if row["kind"] not in DECISIONS:
            continue
        reason = row["detail"].get("reason") or {}
        parts = {
            "the rule": bool(row["rule"]) and reason.get("rule") == row["rule"],
            "a sentence": row["explanation"].endswith("."),
            "its inputs": isinstance(reason.get("inputs"), dict) and bool(reason["inputs"]),
            "the roads not taken": bool(reason.get("considered")),
            "why not": all(road["action"] and road["rejected_because"] for road in reason.get("considered", ())),
            "the next step": bool(row["next_step"]),
        }
        wrong += [(row["kind"], row["rule"], name) for name, there in parts.items() if not there]
    return wrong


async def kinds(failed: Failed) -> set[str]:
    """The kinds of decisions in its timeline."""
    return {row["kind"] for row in await failed.story()} & set(DECISIONS)


async def test_every_decision_of_a_whole_recovery_tells_everything(world: World) -> None:
    """Declined, written about, declined again, collected."""
    failed = await world.fail(decline="insufficient_funds", clears_after=3)
    assert (await failed.finish())["state"] == "recovered"
    story = await failed.story()
    assert lacking(story) == []
    assert await kinds(failed) == {"decided", "attempted", "messaged", "closed"}
    assert [row["detail"]["result"] for row in await failed.story("attempted")] == ["declined", "declined", "succeeded"]
    # Whatever is told to come is told with its time, and comes then.
    for row in await failed.story("decided"):
        assert row["next_at"] is not None
    (closed,) = await failed.story("closed")
    assert closed["next_step"] == "nothing"
    assert {"action": "attempt_now", "rejected_because": "nothing is left to collect"} in closed["detail"]["reason"][
        "considered"
    ]


@pytest.mark.parametrize(
    ("card", "policy", "end"),
    [
        ({"decline": "do_not_honor"}, {"window_days": 6, "message_days": [0, 2]}, "window_over"),
        ({"decline": "do_not_honor"}, {"max_attempts": 2, "end_action": "cancel"}, "attempts_used_up"),
        ({"decline": "lost_card"}, {"window_days": 5, "message_days": [0, 2]}, "window_over"),
        ({"decline": "authentication_required"}, {"window_days": 4, "message_days": [0, 2]}, "window_over"),
        ({"decline": "do_not_honor"}, {"driver": "stripe", "window_days": 4, "message_days": [0]}, "window_over"),
        ({"decline": "do_not_honor"}, {"minimum_amounts": {"eur": 9999, "usd": 9999}}, "below_minimum_amount"),
    ],
)
async def test_so_does_every_decision_of_one_that_is_not_collected(
    world: World, card: dict[str, Any], policy: dict[str, Any], end: str
) -> None:
    await world.policy(**policy)
    failed = await world.fail(**card)
    assert (await failed.finish())["end_reason"] == end
    assert lacking(await failed.story()) == []
    assert "closed" in await kinds(failed)


async def test_so_does_every_decision_about_the_holdout(world: World) -> None:
    await world.policy(holdout_share=0.5, window_days=3, message_days=[0], end_action="cancel")
    lives = [await world.fail(decline="do_not_honor") for _ in range(12)]
    await world.work()
    held = [each for each in lives if (await each.recovery())["holdout"]]
    assert held
    for failed in held:
        assert (await failed.finish())["state"] == "exhausted"
        assert lacking(await failed.story()) == []
        assert await kinds(failed) == {"decided", "closed"}


async def test_so_do_ends_and_stops_that_come_from_outside(world: World) -> None:
    paid, alone, stopped = [await world.fail(decline="do_not_honor") for _ in range(3)]
    async with world.database.transaction() as db:
        await recovery_stops.settle_paid(db, alone.recovery_id, Money(4_200, "usd"), out_of_band=True, source="test")
    await world.work()
    async with world.database.transaction() as db:
        await recovery_stops.settle_paid(db, paid.recovery_id, Money(4_200, "usd"), out_of_band=False, source="test")
        entry = Entry(EntryKind.CLOSED, "voided", "The invoice was voided.", {"event_id": "evt_1"})
        await recovery_stops.request_stop(db, stopped.recovery_id, EndReason.VOIDED, entry)
    for failed, end in ((paid, "paid_after_message"), (alone, "paid_elsewhere"), (stopped, "voided")):
        assert (await failed.recovery())["end_reason"] == end
        assert lacking(await failed.story()) == []


async def test_a_stop_during_an_attempt_tells_what_is_waited_for(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await world.execute("UPDATE recoveries SET state = 'attempting' WHERE id = $1", failed.recovery_id)
    async with world.database.transaction() as db:
        entry = Entry(EntryKind.STOP_REQUESTED, "voided", "The invoice was voided.", {"event_id": "evt_1"})
        await recovery_stops.request_stop(db, failed.recovery_id, EndReason.VOIDED, entry)
    (told_stop,) = await failed.story("stop_requested")
    assert told_stop["next_step"] == "find out how the attempt in flight ends"
    assert lacking(await failed.story()) == []


async def test_the_api_and_the_console_tell_what_is_written(world: World, open_database: OpenDatabase) -> None:
    failed = await world.fail(decline="insufficient_funds", clears_after=2)
    await failed.finish()
    written = await failed.story()
    secret = new_secret()
    await world.execute(
        "INSERT INTO api_keys (name, merchant_id, key_hash, scopes) VALUES ('test', $1, $2, $3)",
        world.merchant_id,
        hash_secret(secret),
        [Scope.RECOVERIES_READ],
    )
    async with (
        open_database(Role.LEDGER) as database,
        TestClient(TestServer(make_ledger_app(database))) as client,
        client.get(f"/v1/recoveries/{failed.recovery_id}", headers={"Authorization": f"Bearer {secret}"}) as response,
    ):
        answered = orjson.loads(await response.read())
    assert len(answered["timeline"]) == len(written)
    for shown, row in zip(answered["timeline"], written, strict=True):
        assert (shown["kind"], shown["rule"], shown["detail"]) == (row["kind"], row["rule"], row["detail"])
        assert shown["next_step"] == row["next_step"]
    assert lacking(answered["timeline"]) == []

    text = "\n".join(told(RecoveryStory.model_validate(answered)))
    for row in written:
        if row["kind"] in DECISIONS:
            for road in row["detail"]["reason"]["considered"]:
                assert f"not {road['action']}: {road['rejected_because']}" in text
            assert f"next {row['next_step']}" in text
            for name in row["detail"]["reason"]["inputs"]:
                assert f"  {name}=" in text
