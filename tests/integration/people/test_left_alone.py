"""A customer or a subscription is left alone: no attempt, no message, no end action, for a time or for good."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.people.town import Town, citadel, rules
from tests.integration.worker.world import Failed

BOTH = pytest.mark.parametrize("by", ["customer_id", "subscription_id"])


async def _whom(failed: Failed, by: str) -> dict[str, Any]:
    return {by: (await failed.recovery())[by]}


async def _until(town: Town, days: int) -> str:
    now = await town.world.value("SELECT citadel_now()")
    return str((now + timedelta(days=days)).isoformat())


@BOTH
async def test_for_a_time_nothing_is_done_and_then_it_goes_on(town: Town, by: str) -> None:
    await town.world.policy(window_days=10, message_days=[0, 3, 7], end_action="cancel")
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    other = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    written = len(await town.subjects())
    reply = await town.leave_alone(**await _whom(failed, by), until=await _until(town, 30), reason="hardship")
    assert (reply.status, reply.body["reason"]) == (200, "hardship")
    await town.world.work()
    assert (await rules(failed, "decided"))[-1] == "left_alone"
    row = await failed.recovery()
    assert (row["state"], row["next_attempt_at"]) == ("waiting", None)
    await town.months_pass(28, step=7)
    assert await failed.charges() == []
    assert (await failed.recovery())["state"] == "waiting"
    assert (await other.recovery())["state"] == "recovered"
    to_the_other = 1  # the thanks
    assert len(await town.subjects()) == written + to_the_other
    await town.months_pass(8)
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("recovered", "paid_by_retry")


@BOTH
async def test_for_good_its_recoveries_are_stopped_and_so_are_new_ones(town: Town, by: str) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=2)
    await town.world.work()
    written = len(await town.subjects())
    assert (await town.leave_alone(**await _whom(failed, by))).body["until"] is None
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", "stopped_by_operator")
    assert await rules(failed, "closed") == ["left_alone"]
    made = await town.world.control.renew(failed.subscription)
    assert made is not None
    again = await town.of(made["id"])
    await town.months_pass(6)
    assert (await again.recovery())["end_reason"] == "stopped_by_operator"
    assert await again.charges() == await failed.charges() == []
    assert len(await town.subjects()) == written


async def test_a_failure_while_it_holds_is_opened_and_waits(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=2)
    await town.leave_alone(customer_id=failed.customer, until=await _until(town, 10))
    await town.world.work()
    assert await rules(failed, "decided") == ["left_alone"]
    assert await town.subjects() == []
    assert (await failed.recovery())["next_attempt_at"] is None


async def test_lifted_it_is_decided_anew_at_once(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    row = (await town.leave_alone(customer_id=failed.customer, until=await _until(town, 300))).body
    await town.world.work()
    lifted = await town.api.delete(f"/v1/left-alone/{row['id']}")
    assert (lifted.status, lifted.body) == (200, row)
    assert (await town.api.delete(f"/v1/left-alone/{row['id']}")).status == 404
    await town.world.work()
    assert "left_alone_lifted" in await rules(failed, "changed")
    assert (await failed.recovery())["next_attempt_at"] is not None
    await town.months_pass(8)
    assert (await failed.recovery())["state"] == "recovered"


@pytest.mark.parametrize("days", [10, None], ids=["for a time", "for good"])
async def test_what_commits_before_the_call_is_never_charged_after(town: Town, days: int | None) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    with town.world.stripe.door.holding("GET", "/v1/invoices/*") as read:
        work = asyncio.create_task(town.world.work())
        await read.has_arrived()
        until = {} if days is None else {"until": await _until(town, days)}
        assert (await town.leave_alone(customer_id=failed.customer, **until)).status == 200
    await work
    assert await failed.charges() == []
    assert [each["result"] for each in await failed.ours()] == ["abandoned"]
    await town.world.work()
    assert (await failed.recovery())["state"] == ("waiting" if days else "stopped")
    await town.months_pass(8)
    assert await failed.charges() == []


@pytest.mark.parametrize("days", [10, None], ids=["for a time", "for good"])
async def test_while_an_attempt_is_in_flight_its_outcome_decides(town: Town, days: int | None) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    with town.world.stripe.door.holding("POST", "*/pay") as paying:
        work = asyncio.create_task(town.world.work())
        await paying.has_arrived()
        until = {} if days is None else {"until": await _until(town, days)}
        await town.leave_alone(customer_id=failed.customer, **until)
    await work
    row = await failed.recovery()
    assert (row["state"], row["end_reason"]) == ("recovered", "paid_by_retry")
    written = await town.subjects()
    await town.months_pass(4)
    assert await town.subjects() == written, "no thanks either"


async def test_an_end_action_waits_until_it_is_over(town: Town) -> None:
    await town.world.policy(end_action="cancel", window_days=3, message_days=[])
    failed = await town.renewal(decline="lost_card")
    await town.api.post("/v1/pauses", {"task_type": "end_dunning"})
    assert (await failed.finish())["state"] == "exhausted"
    await town.leave_alone(customer_id=failed.customer, until=await _until(town, 6))
    await town.api.post("/v1/pauses/end", {"task_type": "end_dunning"})
    await town.months_pass(4)
    assert (await town.world.control.object(failed.subscription))["status"] == "past_due"
    await town.months_pass(6)
    assert (await town.world.control.object(failed.subscription))["status"] == "canceled"
    assert await rules(failed, "end_action") == ["end_action_done"]


async def test_a_repeat_changes_until_when(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    first = (await town.leave_alone(customer_id=failed.customer, until=await _until(town, 50))).body
    await town.world.work()
    sooner = await _until(town, 5)
    second = (await town.leave_alone(customer_id=failed.customer, until=sooner)).body
    assert second["id"] == first["id"]
    await town.world.work()
    (task,) = await failed.tasks()
    assert task["run_at"].isoformat() == sooner
    listed = (await town.api.get("/v1/left-alone", customer_id=failed.customer)).body["data"]
    assert listed == [second]


async def test_pages_hold_every_row_once(town: Town) -> None:
    for number in range(5):
        await town.leave_alone(customer_id=f"cus_{number}")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await town.api.get("/v1/left-alone", **query)).body
        seen += [each["customer_id"] for each in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [f"cus_{number}" for number in reversed(range(5))]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "customer_id"),
        ({"customer_id": "cus_1", "subscription_id": "sub_1"}, "customer_id"),
        ({"customer_id": "ada@example.com"}, "customer_id"),
        ({"customer_id": "cus_1", "until": "2020-01-01T00:00:00Z"}, "until"),
        ({"customer_id": "cus_1", "until": "2090-01-01T00:00:00Z"}, "until"),
        ({"customer_id": "cus_1", "reason": "she is ill"}, "reason"),
    ],
)
async def test_what_is_asked_has_to_make_sense(town: Town, body: dict[str, Any], field: str) -> None:
    refused = await town.leave_alone(**body)
    assert (refused.status, refused.fields) == (422, [field])
    assert await town.world.value("SELECT count(*) FROM left_alone") == 0


async def test_the_console_does_the_same(town: Town, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITADEL_DATABASE_URL", database_url)
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()

    async def tell(command: str, *words: str) -> tuple[int, str]:
        return await citadel("leave-alone", command, *words, "--merchant", town.world.account)

    assert (await tell("add", failed.customer, "--days", "30", "--reason", "hardship"))[0] == 0
    assert failed.customer in (await tell("list"))[1]
    await town.world.work()
    assert (await failed.recovery())["next_attempt_at"] is None
    assert (await tell("add", "ada@example.com"))[0] == 2
    assert await tell("remove", failed.customer) == (0, f"{failed.customer} is not left alone any more\n")
    assert (await tell("remove", failed.customer))[0] == 1
    await town.world.work()
    assert (await failed.recovery())["next_attempt_at"] is not None
