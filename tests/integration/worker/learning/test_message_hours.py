"""In which hours customers answer: learned from rows, per merchant and for the pool, and what decisions make of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.worker.dossier.learned import MESSAGE_HOURS, answers_of
from services.worker.engine.periodic import PeriodicRunner
from services.worker.learning import messages_store, store
from services.worker.learning.schedule import LEARNING, next_task
from services.worker.recovery import message_hours
from services.worker.recovery.message_answers import LAYOUT, NOTHING_LEARNED, Answers, Written
from shared import pool
from shared.database import Database
from shared.ids import MerchantId
from shared.pool import POOL
from shared.queue import tasks
from tests.integration.ledger.test_plans import rows_read, scans
from tests.integration.worker.doomed import rescued, run_until_death
from tests.integration.worker.learning.looks import learn_now, leave, queue
from tests.integration.worker.pasts import Try, write, write_answered_at, write_messages, write_paid_on
from tests.integration.worker.world import World

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
EVENING = (17, 18, 19)


async def kept(world: World, merchant_id: MerchantId) -> Any:
    """The row of what was counted; None without one."""
    rows = await world.rows("SELECT * FROM learned_message_hours WHERE merchant_id = $1", merchant_id)
    return rows[0] if rows else None


async def read(world: World, merchant_id: MerchantId, until: datetime) -> Sequence[Written]:
    """What is counted."""
    async with world.worker.transaction() as db:
        return await messages_store.messages_of(db, merchant_id, until)


async def believed(world: World, merchant_id: MerchantId) -> Answers:
    """What decisions go by."""
    async with world.worker.transaction() as db:
        return await answers_of(db, merchant_id)


# --- What is read -----------------------------------------------------------------------------------------------------


async def test_each_message_is_read_with_its_local_hour_and_what_it_brought(world: World, now: datetime) -> None:
    first = (now - 30 * DAY).replace(hour=1, minute=0)  # three in the morning in Berlin, in September
    await write_messages(world, world.merchant_id, [first, first + 3 * DAY], paid=first + 4 * DAY)
    found = await read(world, world.merchant_id, now)
    assert [(each.number, each.hour, each.answered) for each in found] == [(1, first.hour + 2, False), (2, 3, True)]
    assert {each.whose for each in found} == {world.merchant_id}


async def test_a_payment_with_another_card_counts_and_one_by_our_retry_does_not(world: World, now: datetime) -> None:
    for number, (method, brought) in enumerate((("pm_2", ["pm_2"]), ("pm_1", ["pm_2"]), ("pm_1", []))):
        opened = now - (30 + number) * DAY
        recovery = await write_messages(world, world.merchant_id, [opened])
        await world.execute(
            "INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, result, amount, "
            "currency, payment_method_id, started_at) "
            "VALUES ($1, $2, 'citadel', 1, $3, 'succeeded', 100, 'usd', $4, $5)",
            recovery,
            world.merchant_id,
            f"{recovery}:1",
            method,
            opened + DAY,
        )
        async with world.database.transaction() as db:
            await db.execute("SET LOCAL session_replication_role = replica")
            await db.execute(
                "UPDATE recoveries SET brought = $2, state = 'recovered', recovered_by = 'retry', "
                "end_reason = 'paid_by_retry', closed_at = opened_at + interval '1 day' WHERE id = $1",
                recovery,
                brought,
            )
    assert [each.answered for each in await read(world, world.merchant_id, now)] == [True, False, False]


async def test_printed_messages_and_those_that_may_still_be_answered_are_not_read(world: World, now: datetime) -> None:
    await write_messages(world, world.merchant_id, [now - 30 * DAY], entry="printed")
    await write_messages(world, world.merchant_id, [now - 2 * DAY], paid=now - DAY)
    assert await read(world, world.merchant_id, now) == ()


async def test_another_merchants_messages_are_not_read(world: World, now: datetime) -> None:
    other = await world.connect()
    await write_messages(world, other, [now - 30 * DAY])
    assert await read(world, world.merchant_id, now) == ()
    assert len(await read(world, other, now)) == 1


# --- What is kept -----------------------------------------------------------------------------------------------------


async def test_counts_are_kept_and_decisions_go_by_them(world: World, now: datetime) -> None:
    assert await believed(world, world.merchant_id) == NOTHING_LEARNED
    await write_answered_at(world, world.merchant_id, 600, EVENING, now)
    await learn_now(world, world.merchant_id)
    row = await kept(world, world.merchant_id)
    assert (row["messages"], row["layout"], set(row["hours"])) == (600, LAYOUT, {"answered", "usual"})
    found = await believed(world, world.merchant_id)
    assert found.messages == 600
    assert max(range(24), key=found.factors.__getitem__) in EVENING
    assert found.factors[18] > 1.4 * found.factors[11]


async def test_a_late_task_changes_nothing(world: World, now: datetime) -> None:
    await write_answered_at(world, world.merchant_id, 48, EVENING, now)
    await learn_now(world, world.merchant_id)
    before = dict(await kept(world, world.merchant_id))
    await learn_now(world, world.merchant_id, until=now - 40 * DAY)
    assert dict(await kept(world, world.merchant_id)) == before


async def test_the_pool_needs_three_merchants_and_leaves_out_who_opted_out(world: World, now: datetime) -> None:
    merchants = [world.merchant_id, await world.connect()]
    out = await world.connect()
    for merchant_id in merchants:
        await write_answered_at(world, merchant_id, 48, EVENING, now)
    await write_answered_at(world, out, 240, (9, 10, 11), now)
    await learn_now(world, POOL)
    assert (await kept(world, POOL))["messages"] == 336
    async with world.database.transaction() as db:
        await pool.opt_out(db, out)
    assert POOL in await queue(world), "at once, and not with the next day"
    await world.work()
    assert await kept(world, POOL) is None, "of two merchants one could be recognized by the other"
    third = await world.connect()
    await write_answered_at(world, third, 48, EVENING, now)
    await learn_now(world, POOL, out)
    assert (await kept(world, POOL))["messages"] == 144
    assert (await kept(world, out))["messages"] == 240, "it still learns for itself"


async def test_a_merchant_without_messages_goes_by_the_pools(world: World, now: datetime) -> None:
    for merchant_id in [await world.connect() for _ in range(3)]:
        await write_answered_at(world, merchant_id, 240, EVENING, now)
    await learn_now(world, POOL)
    found = await believed(world, world.merchant_id)
    assert max(range(24), key=found.factors.__getitem__) in EVENING


async def test_counts_that_cannot_be_read_are_passed_by_and_told_of_once(
    world: World, now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    await write_answered_at(world, world.merchant_id, 240, EVENING, now)
    await learn_now(world, world.merchant_id)
    await world.execute("UPDATE learned_message_hours SET hours = hours - 'usual'")
    assert [await believed(world, world.merchant_id) for _ in range(3)] == [NOTHING_LEARNED] * 3
    assert capsys.readouterr().out.count("message_hours_unreadable") == 1
    await learn_now(world, world.merchant_id, until=now + DAY)
    assert await believed(world, world.merchant_id) != NOTHING_LEARNED, "learned anew, it is read anew"
    await world.execute("UPDATE learned_message_hours SET layout = 'another'")
    assert await believed(world, world.merchant_id) == NOTHING_LEARNED


async def test_counts_of_a_merchant_that_is_gone_are_deleted(world: World, now: datetime) -> None:
    gone = await world.connect()
    for merchant_id in (world.merchant_id, gone):
        await write_answered_at(world, merchant_id, 48, EVENING, now)
    await learn_now(world, world.merchant_id, gone)
    await leave(world, gone)
    runner = PeriodicRunner(world.worker, LEARNING)
    while await runner.run_one():
        pass
    assert await kept(world, gone) is None
    assert await kept(world, world.merchant_id) is not None


async def test_killed_anywhere_the_same_is_counted(world: World, database_url: str, now: datetime) -> None:
    await write_answered_at(world, world.merchant_id, 48, EVENING, now)
    await learn_now(world, world.merchant_id, until=now)
    whole = dict(await kept(world, world.merchant_id))
    at, died = 0, True
    while died:
        at += 2
        assert at < 200
        await world.execute("DELETE FROM learned_message_hours")
        async with world.worker.transaction() as db:
            await tasks.enqueue(db, next_task(world.merchant_id, now, now))
        async with run_until_death(world, database_url, at) as process:
            died = process.dead.is_set()
            await rescued(world)
            await world.pass_time(minutes=2)
            await world.work()
        assert dict(await kept(world, world.merchant_id)) == whole
    assert at > 10, "the run was stepped through"


async def test_the_merchant_is_told_in_which_hours_its_customers_answer(world: World, now: datetime) -> None:
    await write_paid_on(world, world.merchant_id, 40, 25, now)
    await write_answered_at(world, world.merchant_id, 600, EVENING, now)
    await learn_now(world, world.merchant_id)
    rows = await world.rows("SELECT differences FROM learned_beliefs WHERE merchant_id = $1", world.merchant_id)
    (told,) = [each for each in rows[0]["differences"] if each["about"] == "message_hours"]
    assert told["text"].startswith("Your customers answer most between 17 and 20, by their clocks (")


# --- What is done -----------------------------------------------------------------------------------------------------


async def messaged(world: World, policy: dict[str, Any], *, decline: str = "lost_card", days: int = 2) -> list[Any]:
    """The messages of a renewal that fails at three in the morning in Berlin, while nobody pays."""
    await world.policy(message_days=[0, 3], **policy)
    await world.pass_time(hours=13)
    failed = await world.fail(decline=decline, country="DE", needs_3ds=decline == "authentication_required")
    for _ in range(24 * days):
        await world.work()
        await world.pass_time(hours=1)
    return list(await failed.story("messaged"))


@pytest.mark.parametrize(("policy", "hour"), [("any", 3), ("likeliest", 7), ("window", 10)])
async def test_a_customer_is_written_to_in_the_policys_hours(world: World, policy: str, hour: int) -> None:
    rule: dict[str, Any] = {"kind": policy} | ({"from_hour": 10, "until_hour": 12} if policy == "window" else {})
    (row,) = await messaged(world, {"message_hours": rule, "timing": "rules"})
    # The worker is asked once an hour here, so a message that waits into an hour goes out in the next.
    assert (row["at"] + 2 * HOUR).hour in ({hour} if policy == "any" else {hour, hour + 1})
    refused = {each["action"]: each["rejected_because"] for each in row["detail"]["reason"]["considered"]}
    assert ("message_when_due" in refused) == (policy != "any")
    if policy == "likeliest":
        assert refused["message_when_due"] == "at night customers are taken to answer less; nothing was learned so far"


async def test_what_was_learned_moves_the_next_message_and_the_timeline_says_when_and_why(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_hours, "TRIED", 0.0)
    await write_answered_at(world, world.merchant_id, 2_000, EVENING, now)
    await learn_now(world, world.merchant_id)
    first, second = await messaged(world, {"message_hours": {"kind": "likeliest"}}, days=5)
    assert (first["at"] + 2 * HOUR).hour in (17, 18, 19, 20)
    refused = {each["action"]: each["rejected_because"] for each in first["detail"]["reason"]["considered"]}
    assert refused["message_when_due"] == "customers answer most between 17 and 20"
    assert first["next_step"] == "the next message, for which hour: customers answer most between 17 and 20"
    assert timedelta(0) <= second["at"] - first["next_at"] <= HOUR, "what was said of the next message holds"


async def test_a_first_request_to_authenticate_goes_out_at_three_in_the_morning(world: World) -> None:
    rule = {"message_hours": {"kind": "likeliest"}}
    (row,) = await messaged(world, rule, decline="authentication_required", days=1)
    assert (row["at"] + 2 * HOUR).hour == 3


async def test_nothing_is_learned_where_the_policy_goes_by_the_rules(world: World, now: datetime) -> None:
    await write_answered_at(world, world.merchant_id, 2_000, EVENING, now)
    await learn_now(world, world.merchant_id)
    (row,) = await messaged(world, {"message_hours": {"kind": "likeliest"}, "timing": "rules"})
    assert (row["at"] + 2 * HOUR).hour in (7, 8)


async def test_recoveries_of_older_policies_are_written_to_when_it_is_due(world: World, now: datetime) -> None:
    await write_answered_at(world, world.merchant_id, 2_000, EVENING, now)
    await learn_now(world, world.merchant_id)
    (row,) = await messaged(world, {"schema_version": 5, "message_hours": {"kind": "any"}})
    assert (row["at"] + 2 * HOUR).hour == 3


# --- What it costs ----------------------------------------------------------------------------------------------------

FILL = """
SET session_replication_role = replica;
INSERT INTO recoveries (merchant_id, invoice_id, amount_due, currency, policy_id, opened_at)
    SELECT 'm' || n % 20, 'in_' || n, 100, 'usd', (SELECT id FROM policies LIMIT 1),
        '2026-01-01'::timestamptz + n * interval '1 min'
    FROM generate_series(1, 20000) AS n;
INSERT INTO recovery_timeline (recovery_id, merchant_id, at, kind, rule, explanation, detail)
    SELECT r.id, r.merchant_id, r.opened_at, CASE WHEN k = 1 THEN 'messaged' ELSE 'decided' END, 'r', '',
        '{"kind": "payment_failed"}'
    FROM recoveries AS r CROSS JOIN generate_series(1, 4) AS k;
INSERT INTO learned_message_hours (merchant_id, learned_at, messages, layout, hours)
    SELECT 'm' || n, now(), 1, 'layout', '{}' FROM generate_series(1, 3000) AS n;
"""


async def test_learning_reads_the_latest_recoveries_of_its_merchants_only_and_a_decision_two_rows(
    database: Database,
) -> None:
    async with database.transaction() as db:
        await db.execute(FILL)
        await db.execute("ANALYZE")
    until = datetime.fromisoformat("2026-02-01T00:00:00+00:00")
    asked: dict[str, tuple[str, Sequence[Any], int]] = {
        "of a merchant": (messages_store.MESSAGES_OF_MERCHANT, (until, "m7", 200), 200 * 6),
        "of the pool": (messages_store.MESSAGES_OF_POOL, (until, [f"m{n}" for n in range(9)], 50, 300), 450 + 300 * 6),
        "of a decision": (MESSAGE_HOURS, (["m7", POOL], "layout"), 2),
    }
    for name, (statement, arguments, most) in asked.items():
        async with database.transaction() as db:
            await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            (explained,) = await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
        plan = explained["Plan"]
        # Nothing is in these two: they are small.
        read_whole = {table for kind, table in scans(plan) if kind == "Seq Scan"} - {"recovered_charges", "attempts"}
        assert read_whole == set(), name
        assert rows_read(plan) <= most + 50, name


async def test_merchants_with_few_attempts_but_messages_are_counted_too(world: World, now: datetime) -> None:
    await write(world, world.merchant_id, [Try(now - 20 * DAY), Try(now - 19 * DAY)])
    await write_messages(world, world.merchant_id, [now - 30 * DAY])
    await learn_now(world, world.merchant_id)
    assert (await kept(world, world.merchant_id))["messages"] == 1
    async with world.worker.transaction() as db:
        assert await store.belief_of(db, world.merchant_id) is None, "too few to believe something of wages"


# --- What is late -----------------------------------------------------------------------------------------------------


async def _at_half_past_nine(world: World) -> Any:
    """A renewal that fails at 21:30 in Berlin: its message is due at once, and the night is near."""
    await world.policy(message_days=[0], message_hours={"kind": "likeliest"}, timing="rules")
    await world.pass_time(hours=7, minutes=30)
    return await world.fail(decline="lost_card", country="DE")


async def test_a_message_whose_worker_was_away_waits_for_the_morning(world: World) -> None:
    failed = await _at_half_past_nine(world)
    await world.pass_time(hours=5)
    for _ in range(7):  # from half past two on
        await world.work()
        await world.pass_time(hours=1)
    (row,) = await failed.story("messaged")
    assert (row["at"] + 2 * HOUR).hour in (7, 8)


async def test_an_email_that_may_be_out_is_handed_over_again_at_night(world: World) -> None:
    failed = await _at_half_past_nine(world)
    await world.control.add_fault("drop", method="POST", path="/emails", times=1, after_effect=True)
    await world.work()
    assert await failed.story("messaged") == []
    await world.pass_time(hours=3)
    await world.work()
    (row,) = await failed.story("messaged")
    assert (row["at"] + 2 * HOUR).hour == 0, "half past midnight: the customer has it already, so the timeline is told"
    assert len(await world.control.outbox()) == 1


@pytest.mark.parametrize(("after", "hours", "waited"), [(33, range(12, 17), False), (24, range(7, 9), True)])
async def test_a_request_that_begins_later_says_what_is_true_of_its_own_hour(
    world: World, after: int, hours: range, waited: bool
) -> None:
    """It begins when an attempt says that the card is lost: in the afternoon of the next day, or early in its
    morning."""
    delays = {"kind": "delays", "hours": [after]}
    await world.policy(
        driver="citadel",
        message_days=[3],
        message_hours={"kind": "likeliest"},
        timing="rules",
        schedules={"insufficient_funds": delays},
    )
    await world.pass_time(hours=13)
    failed = await world.fail(decline="insufficient_funds", country="DE")
    await world.work()
    await world.control.set_script(failed.payment_method, decline="lost_card")
    for _ in range(48):
        await world.work()
        await world.pass_time(hours=1)
    (row,) = await failed.story("messaged")
    assert (row["at"] + 2 * HOUR).hour in hours
    refused = [each["action"] for each in row["detail"]["reason"]["considered"]]
    assert ("message_when_due" in refused) is waited
