"""What is learned from recoveries' rows, for whom, how often, and what decisions make of it."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from services.worker.dossier import learned as learned_module
from services.worker.dossier import store as dossiers
from services.worker.dossier.learned import learned_of
from services.worker.engine.periodic import PeriodicRunner
from services.worker.handlers import learn_belief
from services.worker.learning import store
from services.worker.learning.outcomes import outcomes_of
from services.worker.learning.schedule import ENOUGH, LEARNING, QUEUED, next_task, queue_due
from services.worker.recovery import Card, DeclineCause
from services.worker.recovery.belief.document import LAYOUT, read_document
from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.belief.learning import Outcome
from shared import pool
from shared.clock import business_now
from shared.database import Role
from shared.ids import MerchantId
from shared.policy import Likeliest, Policy, Schedules
from shared.pool import POOL
from shared.queue import tasks
from tests.conftest import OpenDatabase
from tests.integration.worker.doomed import rescued, run_until_death
from tests.integration.worker.pasts import Try, write, write_paid_on
from tests.integration.worker.world import World
from tests.waiting import PATIENCE_S

FUNDS = DeclineCause.INSUFFICIENT_FUNDS
MOST_AWAITS = 200


@pytest.fixture(autouse=True)
def nothing_is_parsed() -> None:
    """What another test's database held is not known."""
    learned_module._parsed.clear()


@pytest.fixture
async def now(world: World) -> datetime:
    """The business time at which the test begins."""
    async with world.database.transaction() as db:
        return await business_now(db)


async def queue(world: World) -> list[MerchantId]:
    """Look whose turn it is; who has a task then, those that are due first at the front."""
    async with world.worker.transaction() as db:
        await queue_due(db)
    rows = await world.rows(
        "SELECT merchant_id FROM scheduled_tasks "
        "WHERE task_type = 'learn_belief' AND status = 'pending' ORDER BY run_at"
    )
    return [row["merchant_id"] for row in rows]


async def learn_now(world: World, *merchants: MerchantId, until: datetime | None = None) -> None:
    """Learn from these merchants' recoveries, until now unless it is said."""
    async with world.worker.transaction() as db:
        at = await business_now(db)
        for merchant_id in merchants:
            await tasks.enqueue(db, next_task(merchant_id, until or at, at))
    await world.work()
    done = "SELECT count(*) FROM scheduled_tasks WHERE task_type = 'learn_belief' AND status <> 'succeeded'"
    assert await world.value(done) == 0


async def leave(world: World, merchant_id: MerchantId) -> None:
    """The merchant disconnects."""
    await world.execute(
        "UPDATE merchants SET status = 'disconnected', access_token = NULL, refresh_token = NULL WHERE id = $1::uuid",
        merchant_id,
    )


async def kept(world: World, merchant_id: MerchantId) -> Any:
    """The row of what was learned; None without one."""
    rows = await world.rows("SELECT * FROM learned_beliefs WHERE merchant_id = $1", merchant_id)
    return rows[0] if rows else None


async def outcomes(world: World, merchant_id: MerchantId, until: datetime) -> list[Outcome]:
    """What is learned from."""
    async with world.worker.transaction() as db:
        return [each for _, each in outcomes_of(await store.attempts_of(db, merchant_id, until))]


def payday(document: Any, day: int) -> float:
    """How many of those who wait for wages are believed to be paid on this day or beside it."""
    return sum(read_document(document).everywhere.paydays[f"day_{each}"] for each in (day - 1, day, day + 1))


# --- What is an outcome -----------------------------------------------------------------------------------------------


def days(now: datetime, count: int) -> datetime:
    return now - timedelta(days=30 - count)


Story = Callable[[datetime], list[Try]]

WHAT_IS_READ: dict[str, tuple[Story, tuple[int, int | None] | None]] = {
    "declined, then paid by our retry": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2)), Try(days(now, 5), "succeeded")],
        (2, 5),
    ),
    "paid by Stripe's own retry": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 3), "succeeded", "stripe")],
        (1, 3),
    ),
    "never paid": (lambda now: [Try(days(now, day), origin="stripe") for day in (0, 3, 7)], (3, None)),
    "a failure that nothing followed": (lambda now: [Try(days(now, 0), origin="stripe")], None),
    "the customer paid with another card": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 2)),
            Try(days(now, 4), "succeeded", method="pm_2", fingerprint="fp_2"),
        ],
        (2, None),
    ),
    "a backup card was tried between": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 1), method="pm_2", fingerprint="fp_2", code="lost_card"),
            Try(days(now, 4), "succeeded"),
        ],
        (1, 4),
    ),
    "a new number under the same payment method": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 2)),
            Try(days(now, 4), "succeeded", fingerprint="fp_renewed"),
        ],
        (2, None),
    ),
    "a part was paid by our attempt, and the rest declined": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2), "succeeded"), Try(days(now, 6))],
        (1, 2),
    ),
    "a debit, answered days later": (
        lambda now: [
            Try(days(now, 0), origin="stripe", network="us_bank_account", takes=timedelta(days=3)),
            Try(days(now, 5), "succeeded", network="us_bank_account", takes=timedelta(days=3)),
        ],
        None,
    ),
    "a debit that came back at once": (
        lambda now: [Try(days(now, day), origin="stripe", network="us_bank_account") for day in (0, 5)],
        None,
    ),
    "a card whose answer we heard a day later": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2), "succeeded", takes=timedelta(days=1))],
        (1, 2),
    ),
    "what has neither a card's nor a debit's name": (
        lambda now: [Try(days(now, day), origin="stripe", network=None) for day in (0, 5)],
        None,
    ),
    "a debit that is under way": (
        lambda now: [
            Try(days(now, 0), origin="stripe", network="sepa_debit"),
            Try(days(now, 5), "processing", network="sepa_debit"),
        ],
        None,
    ),
    "an attempt without an outcome": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2)), Try(days(now, 5), "unknown")],
        (2, None),
    ),
    "Stripe refused the request": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2), "failed"), Try(days(now, 3), "succeeded")],
        (1, 3),
    ),
    "the bank asked for 3-D Secure": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 2)),
            Try(days(now, 3), "requires_action"),
            Try(days(now, 4), "succeeded"),
        ],
        (2, None),
    ),
    "a hard decline": (
        lambda now: [Try(days(now, 0), origin="stripe", code="lost_card"), Try(days(now, 2), code="lost_card")],
        None,
    ),
    "a hard decline after soft ones": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 2)),
            Try(days(now, 3), code="stolen_card"),
            Try(days(now, 4)),
        ],
        (2, None),
    ),
    "a rule of the merchant's": (
        lambda now: [Try(days(now, 0), origin="stripe", code="rule"), Try(days(now, 2), "succeeded")],
        None,
    ),
    "a success without a failure": (
        lambda now: [Try(days(now, 0), "succeeded", "stripe"), Try(days(now, 2)), Try(days(now, 3))],
        None,
    ),
}


@pytest.mark.parametrize("name", WHAT_IS_READ)
async def test_what_is_read_as_an_outcome(world: World, now: datetime, name: str) -> None:
    story, expected = WHAT_IS_READ[name]
    await write(world, world.merchant_id, story(now))
    found = await outcomes(world, world.merchant_id, now)
    if expected is None:
        assert found == []
        return
    (one,) = found
    count, accepted = expected
    assert one.cause is FUNDS
    assert (one.country, one.credit) == ("DE", False)
    assert len(one.declined) == count
    assert one.declined[0] == days(now, 0)
    assert one.accepted_at == (None if accepted is None else days(now, accepted))


async def test_a_refund_does_not_make_a_decline_of_an_acceptance(world: World, now: datetime) -> None:
    recovery = await write(
        world, world.merchant_id, [Try(days(now, 0), origin="stripe"), Try(days(now, 2), "succeeded")]
    )
    await world.execute(
        "INSERT INTO recovered_charges (merchant_id, charge_id, recovery_id, amount, currency, charged_at, refunded) "
        "VALUES ($1, 'ch_1', $2, 100, 'usd', $3, 100)",
        world.merchant_id,
        recovery,
        days(now, 2),
    )
    (one,) = await outcomes(world, world.merchant_id, now)
    assert one.accepted_at == days(now, 2)


async def test_a_credit_card_is_told_from_a_debit_card(world: World, now: datetime) -> None:
    tries = [Try(days(now, day), origin="stripe", funding="credit") for day in (0, 3)]
    await write(world, world.merchant_id, tries)
    (one,) = await outcomes(world, world.merchant_id, now)
    assert one.credit


async def test_what_was_known_later_is_not_read(world: World, now: datetime) -> None:
    await write(world, world.merchant_id, [Try(days(now, day)) for day in (0, 3, 6)])
    (one,) = await outcomes(world, world.merchant_id, days(now, 4))
    assert len(one.declined) == 2


async def test_the_funding_of_a_card_is_kept_with_its_attempts(world: World) -> None:
    await world.policy(message_days=[])
    failed = await world.fail(decline="do_not_honor", clears_after=1, funding="credit")
    await failed.finish()
    assert [row["card_funding"] for row in (*await failed.theirs(), *await failed.ours())] == ["credit", "credit"]


async def test_another_merchants_recoveries_are_not_read(world: World, now: datetime) -> None:
    other = await world.connect()
    await write(world, other, [Try(days(now, day)) for day in (0, 3)])
    assert await outcomes(world, world.merchant_id, now) == []
    assert len(await outcomes(world, other, now)) == 1


# --- Who has a task, and when -----------------------------------------------------------------------------------------


async def test_a_merchant_gets_a_task_when_enough_is_new_and_once_a_day(world: World, now: datetime) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH - 1, 25, now)
    assert await queue(world) == [POOL]
    await world.work()
    await write_paid_on(world, world.merchant_id, 1, 25, now)
    assert await queue(world) == [], "it was looked at today"
    await world.pass_time(days=1, minutes=1)
    assert sorted(await queue(world)) == sorted([POOL, world.merchant_id])
    await world.pass_time(minutes=1)
    await world.work()
    row = await kept(world, world.merchant_id)
    assert (row["recoveries"], row["layout"]) == (ENOUGH, LAYOUT)
    await world.pass_time(days=1, minutes=1)
    assert await queue(world) == [POOL], "nothing is new"
    await world.pass_time(days=30)
    await write(world, world.merchant_id, [Try(now + timedelta(days=20)), Try(now + timedelta(days=21))])
    assert world.merchant_id in await queue(world), "what is old is learned anew from one"


async def test_what_was_learned_in_another_layout_is_learned_anew(world: World, now: datetime) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH, 25, now)
    await learn_now(world, world.merchant_id)
    await world.pass_time(days=2)
    assert world.merchant_id not in await queue(world)
    await world.execute("UPDATE learned_beliefs SET layout = 'another' WHERE layout IS NOT NULL")
    await world.pass_time(days=2)
    assert world.merchant_id in await queue(world)


async def test_merchants_take_turns_and_few_are_queued_at_a_time(world: World, now: datetime) -> None:
    merchants = {world.merchant_id, *[await world.connect() for _ in range(QUEUED + 3)]}
    for merchant_id in merchants:
        await write_paid_on(world, merchant_id, ENOUGH, 25, now)
    first = await queue(world)
    assert len(first) == QUEUED
    assert first[0] == POOL
    due = await world.rows("SELECT run_at FROM scheduled_tasks WHERE task_type = 'learn_belief' ORDER BY run_at")
    gaps = [after["run_at"] - before["run_at"] for before, after in pairwise(due)]
    assert min(gaps) >= timedelta(seconds=5), "one after the other"
    rest = await queue(world)
    assert {*first, *rest} == {POOL, *merchants}


async def test_a_merchant_that_is_gone_has_no_turn_and_its_belief_is_deleted(world: World, now: datetime) -> None:
    gone = await world.connect()
    for merchant_id in (world.merchant_id, gone):
        await write_paid_on(world, merchant_id, ENOUGH, 25, now)
    await learn_now(world, world.merchant_id, gone)
    await leave(world, gone)
    await learn_now(world, gone)
    runner = PeriodicRunner(world.worker, LEARNING)
    while await runner.run_one():
        pass
    assert await kept(world, gone) is None
    assert await kept(world, world.merchant_id) is not None


async def test_who_left_during_the_run_has_nothing_kept(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH, 25, now)
    begun, left = threading.Event(), threading.Event()
    learned = learn_belief._learned

    def slowly(lessons: learn_belief.Lessons) -> Any:
        begun.set()
        assert left.wait(PATIENCE_S)
        return learned(lessons)

    monkeypatch.setattr(learn_belief, "_learned", slowly)
    run = asyncio.create_task(learn_now(world, world.merchant_id))
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    await leave(world, world.merchant_id)
    left.set()
    await run
    assert await kept(world, world.merchant_id) is None


async def test_an_opt_out_is_heard_although_the_pools_task_was_queued_before(world: World) -> None:
    assert await queue(world) == [POOL]
    async with world.database.transaction() as db:
        await pool.opt_out(db, world.merchant_id)
    assert await queue(world) == [POOL], "the one that was queued before"
    await world.work()
    assert await queue(world) == [POOL], "it may have read what it learns from before the opt-out"
    await world.work()
    assert await queue(world) == []


# --- What is kept -----------------------------------------------------------------------------------------------------


async def test_a_merchant_learns_from_its_own_recoveries_and_a_late_task_changes_nothing(
    world: World, now: datetime
) -> None:
    await write_paid_on(world, world.merchant_id, 120, 25, now)
    await learn_now(world, world.merchant_id)
    row = await kept(world, world.merchant_id)
    assert row["recoveries"] == 120
    assert payday(row["belief"], 25) > 0.5
    assert [each["about"] for each in row["differences"]] == ["payday"]
    assert "25th" in row["differences"][0]["text"]
    await learn_now(world, world.merchant_id, until=now - timedelta(days=40))
    after = await kept(world, world.merchant_id)
    assert (after["learned_at"], after["recoveries"]) == (row["learned_at"], 120)


async def test_the_pool_needs_three_merchants_and_leaves_out_who_opted_out(world: World, now: datetime) -> None:
    merchants = [world.merchant_id, await world.connect(), await world.connect()]
    out = await world.connect()
    for merchant_id in merchants[:2]:
        await write_paid_on(world, merchant_id, 40, 25, now)
    await learn_now(world, POOL)
    assert await kept(world, POOL) is None
    await write_paid_on(world, merchants[2], 40, 25, now)
    await write_paid_on(world, out, 200, 8, now)
    await learn_now(world, POOL)
    first = await kept(world, POOL)
    assert first["recoveries"] == 320
    async with world.database.transaction() as db:
        await pool.opt_out(db, out)
    assert (await queue(world))[0] == POOL, "at once, and not with the next day"
    await world.work()
    second = await kept(world, POOL)
    assert second["recoveries"] == 120
    assert payday(second["belief"], 25) > payday(first["belief"], 25) + 0.2
    assert payday(second["belief"], 8) < payday(first["belief"], 8) - 0.2


async def test_who_opted_out_still_learns_for_itself_and_an_empty_pool_forgets(world: World, now: datetime) -> None:
    merchants = [world.merchant_id, await world.connect(), await world.connect()]
    for merchant_id in merchants:
        await write_paid_on(world, merchant_id, ENOUGH, 25, now)
    await learn_now(world, POOL)
    assert (await kept(world, POOL))["belief"] is not None
    async with world.database.transaction() as db:
        await pool.opt_out(db, world.merchant_id)
    await world.pass_time(minutes=1)
    await learn_now(world, POOL, world.merchant_id)
    assert (await kept(world, POOL))["belief"] is None
    assert (await kept(world, world.merchant_id))["belief"] is not None


async def test_of_the_pool_small_merchants_are_heard_beside_a_large_one(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "REMEMBERED", 60)
    small = [await world.connect(), await world.connect()]
    await write_paid_on(world, world.merchant_id, 150, 8, now)
    for merchant_id in small:
        await write_paid_on(world, merchant_id, 15, 25, now)
    async with world.worker.transaction() as db:
        found = outcomes_of(await store.attempts_of_pool(db, now))
    heard = [merchant_id for merchant_id, _ in found]
    assert [heard.count(merchant_id) for merchant_id in (world.merchant_id, *small)] == [30, 15, 15]


async def test_a_new_merchant_begins_with_what_the_pool_believes(world: World, now: datetime) -> None:
    for merchant_id in [await world.connect() for _ in range(3)]:
        await write_paid_on(world, merchant_id, 60, 12, now)
    await write_paid_on(world, world.merchant_id, ENOUGH, 27, now)
    await learn_now(world, world.merchant_id)
    alone = payday((await kept(world, world.merchant_id))["belief"], 12)
    await learn_now(world, POOL)
    await world.pass_time(minutes=1)
    await learn_now(world, world.merchant_id)
    row = await kept(world, world.merchant_id)
    assert payday(row["belief"], 12) > alone + 0.1
    assert row["differences"] == [], "what the others have taught is told to nobody as its own"


# --- Killed, and two at once ------------------------------------------------------------------------------------------


async def test_killed_anywhere_the_same_is_learned(world: World, database_url: str, now: datetime) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH, 25, now)
    await learn_now(world, world.merchant_id, until=now)
    whole = dict(await kept(world, world.merchant_id))
    at, died = 0, True
    while died:
        at += 2
        assert at < MOST_AWAITS
        await world.execute("DELETE FROM learned_beliefs")
        async with world.worker.transaction() as db:
            await tasks.enqueue(db, next_task(world.merchant_id, now, now))
        async with run_until_death(world, database_url, at) as process:
            died = process.dead.is_set()
            await rescued(world)
            await world.pass_time(minutes=2)
            await world.work()
            row = await kept(world, world.merchant_id)
        assert row is not None
        assert dict(row) | {"looked_at": None} == whole | {"looked_at": None}
    assert at > 10, "the run was stepped through"


async def test_two_workers_at_once_learn_each_merchant_once(world: World, now: datetime) -> None:
    merchants = [world.merchant_id, *[await world.connect() for _ in range(3)]]
    for merchant_id in merchants:
        await write_paid_on(world, merchant_id, ENOUGH, 25, now)

    async def look() -> None:
        async with world.worker.transaction() as db:
            await queue_due(db)

    await asyncio.gather(look(), look())
    await world.pass_time(minutes=1)
    await asyncio.gather(*(world.another_engine().run_due() for _ in range(2)))
    done = await world.rows(
        "SELECT merchant_id, status, attempts FROM scheduled_tasks WHERE task_type = 'learn_belief' ORDER BY 1"
    )
    assert [tuple(row) for row in done] == [(each, "succeeded", 1) for each in sorted([*merchants, POOL])]
    assert {row["merchant_id"] for row in await world.rows("SELECT merchant_id FROM learned_beliefs")} == {
        *merchants,
        POOL,
    }


# --- What decisions make of it ----------------------------------------------------------------------------------------


def learning_policy() -> Policy:
    """One attempt where it is likeliest to collect, by what was learned."""
    schedules = Schedules(insufficient_funds=Likeliest(max_attempts=1))
    return Policy(timing="learned", schedules=schedules, message_days=())


async def planned(world: World) -> Any:
    """What a renewal that has just failed for missing funds is planned to do next, after its first evaluation."""
    failed = await world.fail(decline="insufficient_funds", country="DE")
    await world.work()
    row = await failed.recovery()
    return row["next_attempt_at"], row["next_chance"]


async def test_a_decision_differs_by_what_was_learned(world: World, now: datetime) -> None:
    await world.policy(**learning_policy().model_dump(mode="json"))
    before, chance = await planned(world)
    await write_paid_on(world, world.merchant_id, 200, 22, now)
    await learn_now(world, world.merchant_id)
    after, better = await planned(world)
    assert after.day in (22, 23)
    assert before.day not in (22, 23)
    assert better > chance


async def test_by_the_rules_nothing_differs(world: World, now: datetime) -> None:
    await world.policy(**(learning_policy().model_dump(mode="json") | {"timing": "rules"}))
    before = await planned(world)
    await write_paid_on(world, world.merchant_id, 200, 22, now)
    await learn_now(world, world.merchant_id)
    after = await planned(world)
    assert (before[0].date(), before[1]) == (after[0].date(), after[1])


async def test_without_a_belief_of_its_own_a_merchant_has_the_pools(world: World, now: datetime) -> None:
    for merchant_id in [await world.connect() for _ in range(3)]:
        await write_paid_on(world, merchant_id, 60, 22, now)
    await learn_now(world, POOL)
    async with world.worker.transaction() as db:
        believed = await learned_of(db, world.merchant_id)
    assert believed is not None
    assert believed.everywhere.paydays["day_22"] > 0.3


@pytest.mark.parametrize(
    ("spoiled", "is_told"),
    [
        ("UPDATE learned_beliefs SET layout = 'another'", False),
        ("UPDATE learned_beliefs SET belief = jsonb_set(belief, '{everywhere,stays,0}', '0.9')", True),
        ("UPDATE learned_beliefs SET belief = belief - 'everywhere'", True),
        ("DELETE FROM learned_beliefs", False),
    ],
)
async def test_what_cannot_be_read_is_not_believed(
    world: World, now: datetime, capsys: pytest.CaptureFixture[str], spoiled: str, is_told: bool
) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH, 22, now)
    await learn_now(world, world.merchant_id)
    await world.execute(spoiled)
    async with world.worker.transaction() as db:
        assert await learned_of(db, world.merchant_id) is None
    assert ("belief_unreadable" in capsys.readouterr().out) is is_told


async def test_an_unreadable_belief_is_told_once_and_the_pools_is_taken(
    world: World, now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    for merchant_id in [world.merchant_id, await world.connect(), await world.connect()]:
        await write_paid_on(world, merchant_id, ENOUGH, 22, now)
    await learn_now(world, POOL, world.merchant_id)
    await world.execute(
        "UPDATE learned_beliefs SET belief = belief - 'countries' WHERE merchant_id = $1", world.merchant_id
    )
    async with world.worker.transaction() as db:
        found = [await learned_of(db, world.merchant_id) for _ in range(3)]
        pools = await learned_of(db, POOL)
    assert pools is not None
    assert found == [pools] * 3
    assert capsys.readouterr().out.count("belief_unreadable") == 1


async def test_a_belief_is_parsed_once_until_it_is_learned_anew(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_module, "_parsed", Kept(2))
    merchants = [world.merchant_id, await world.connect(), await world.connect()]
    for merchant_id in merchants:
        await write_paid_on(world, merchant_id, ENOUGH, 22, now)
    await learn_now(world, *merchants)

    async def ask(merchant_id: MerchantId) -> Any:
        async with world.worker.transaction() as db:
            return await learned_of(db, merchant_id)

    one = await ask(merchants[0])
    assert await ask(merchants[0]) is one
    await world.pass_time(hours=1)
    await write_paid_on(world, merchants[0], 40, 8, now)
    await learn_now(world, merchants[0])
    anew = await ask(merchants[0])
    assert anew.everywhere.paydays["day_8"] > one.everywhere.paydays["day_8"]
    card = Card(country="DE")
    assert anew.believed(FUNDS, card, {}) is anew.believed(FUNDS, card, {})
    for merchant_id in merchants[1:]:
        await ask(merchant_id)
    assert len(learned_module._parsed) == 2
    assert await ask(merchants[0]) is not anew, "it was forgotten"


async def test_a_policy_without_likeliest_reads_hours_and_no_belief_and_any_other_the_other_way_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def hours(*_: Any) -> None:
        asked.append("hours")

    async def belief(*_: Any) -> None:
        asked.append("belief")

    monkeypatch.setattr(dossiers, "_hours", hours)
    monkeypatch.setattr(dossiers, "learned_of", belief)
    both = Policy(timing="learned", schedules=Schedules(insufficient_funds=Likeliest()))
    only = Policy(timing="learned", schedules=Schedules(**dict.fromkeys(Schedules.model_fields, Likeliest())))
    fixed = Policy.model_validate({"schema_version": 4, "timing": "learned"})
    for policy, expected in ((fixed, {"hours"}), (both, {"belief"}), (only, {"belief"})):
        asked.clear()
        await world.policy(**policy.model_dump(mode="json"))
        failed = await world.fail(decline="insufficient_funds")
        async with world.worker.transaction() as db:
            await dossiers.open_dossier(db, world.merchant_id, failed.recovery_id)
        assert set(asked) == expected


async def test_the_pool_can_be_read_while_payments_go_on(open_database: OpenDatabase, world: World) -> None:
    """Learning loads alone: nothing of the worker's rights is missing for it."""
    async with open_database(Role.WORKER) as database, database.transaction() as db:
        assert await store.attempts_of_pool(db, datetime.now(UTC)) == ()
        assert await store.belief_of(db, POOL) is None
