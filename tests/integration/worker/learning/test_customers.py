"""What decisions make of the customer's own earlier recoveries: of this merchant only, ended before, never news."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.worker.dossier import store as dossiers
from services.worker.dossier.learned import EARLIER, REMEMBERED_OF_CUSTOMER, earlier_of
from services.worker.recovery.belief.customers import Earlier
from shared.database import Database
from shared.ids import CustomerId, MerchantId
from shared.policy import Likeliest, Policy, Schedules
from tests.integration.worker.pasts import Try, write
from tests.integration.worker.world import Failed, World

CUSTOMER = CustomerId("cus_again")
POLICY = Policy(timing="learned", schedules=Schedules(insufficient_funds=Likeliest(max_attempts=1)), message_days=())

IS_OF = "UPDATE recoveries SET customer_id = $2 WHERE id = $1"
END = """
WITH ended AS (
    UPDATE recoveries SET state = 'exhausted', end_reason = 'window_over', closed_at = $2 WHERE id = $1
    RETURNING id, merchant_id
)
INSERT INTO recovery_timeline (recovery_id, merchant_id, at, kind, from_state, to_state, rule, explanation)
SELECT id, merchant_id, $2, 'closed', 'waiting', 'exhausted', 'window_over', 'The window is over.' FROM ended
"""
# The same customer, a hundred times, among many others of two merchants.
FILL = """
INSERT INTO recoveries (merchant_id, invoice_id, customer_id, amount_due, currency, policy_id, opened_at)
SELECT CASE WHEN n % 2 = 0 THEN $1 ELSE 'another' END, 'in_fill_' || n,
    CASE WHEN n <= 200 THEN $2 ELSE 'cus_' || n END, 100, 'usd', p.id, $3::timestamptz - n * interval '1 hour'
FROM generate_series(1, 20000) AS n, (SELECT id FROM policies LIMIT 1) AS p
"""
FILL_ATTEMPTS = """
INSERT INTO attempts (recovery_id, merchant_id, origin, number, result, amount, currency, started_at)
SELECT r.id, r.merchant_id, 'stripe', n, 'declined', 100, 'usd', r.opened_at + n * interval '1 minute'
FROM recoveries AS r, generate_series(1, 3) AS n
WHERE r.invoice_id LIKE 'in_fill_%'
"""


def paid_on(day: int, month: int) -> list[Try]:
    """A renewal of the 8th that failed, was tried every other day, and was paid on this day."""
    failed = datetime.fromisoformat(f"2026-{month:02}-08T12:00:00+00:00")
    tries = [Try(failed, origin="stripe")]
    at = failed
    while (at := at + timedelta(days=2)).day < day:
        tries.append(Try(at))
    return [*tries, Try(failed.replace(day=day, hour=9), "succeeded")]


async def before(
    world: World,
    customer: str,
    tries: list[Try],
    *,
    ended_at: datetime | None = None,
    merchant_id: MerchantId | None = None,
    ends: bool = True,
) -> UUID:
    """An earlier recovery of a customer's, which ended with its last attempt unless it is said."""
    recovery_id = await write(world, merchant_id or world.merchant_id, tries)
    await world.execute(IS_OF, recovery_id, customer)
    if ends:
        async with world.database.transaction() as db:
            await db.execute("SET LOCAL session_replication_role = replica")
            await db.execute(END, recovery_id, ended_at or tries[-1].at)
    return recovery_id


async def known(world: World, at: datetime, merchant_id: MerchantId | None = None) -> Earlier:
    async with world.worker.transaction() as db:
        found = await earlier_of(db, merchant_id or world.merchant_id, CUSTOMER, at)
    assert found is not None
    return found


async def failing(world: World, customer: str | None = None) -> Failed:
    """A renewal that has just failed for missing funds, of this customer if it is said."""
    failed = await world.fail(decline="insufficient_funds", country="DE")
    if customer is not None:
        await world.execute(IS_OF, failed.recovery_id, customer)
    return failed


async def planned(world: World, failed: Failed) -> Any:
    await world.work()
    row = await failed.recovery()
    return row["next_attempt_at"], row["next_chance"]


async def test_who_paid_on_the_22nd_before_is_tried_on_the_22nd_and_the_timeline_says_why(world: World) -> None:
    await world.policy(**POLICY.model_dump(mode="json"))
    for month in (6, 7, 8):
        await before(world, CUSTOMER, paid_on(22, month))
    other, again = await failing(world), await failing(world, CUSTOMER)
    (of_other, chance), (at, better) = await planned(world, other), await planned(world, again)
    assert of_other.day != 22
    assert (at.month, at.day) == (9, 22)
    assert better > chance
    entry = (await again.story("decided"))[-1]
    assert "because this customer paid on 22 Jun, 22 Jul and 22 Aug before" in entry["explanation"]
    assert entry["detail"]["reason"]["inputs"]["earlier_recoveries"] == 3
    assert "earlier_recoveries" not in (await other.story("decided"))[-1]["detail"]["reason"]["inputs"]


async def test_the_same_customer_id_at_another_merchant_says_nothing_here(world: World, now: datetime) -> None:
    elsewhere = await world.connect()
    await before(world, CUSTOMER, paid_on(22, 8), merchant_id=elsewhere)
    assert (await known(world, now)).outcomes == ()
    assert len((await known(world, now, elsewhere)).outcomes) == 1


async def test_what_goes_on_ended_later_or_was_answered_later_is_not_known_at_the_opening(
    world: World, now: datetime
) -> None:
    opened = now - timedelta(days=5)
    await before(world, CUSTOMER, paid_on(22, 6), ends=False)
    await before(world, CUSTOMER, paid_on(22, 7), ended_at=opened + timedelta(hours=1))
    assert (await known(world, opened)).outcomes == ()
    assert len((await known(world, now)).outcomes) == 1
    failed, answered = now - timedelta(days=20), opened + timedelta(days=1)
    late = [Try(failed, origin="stripe"), Try(failed + timedelta(days=1)), Try(answered, "succeeded")]
    await before(world, CUSTOMER, late, ended_at=opened)
    (only,) = (await known(world, opened)).outcomes
    assert (len(only.declined), only.accepted_at) == (2, None)


async def test_what_is_known_of_the_customer_stays_the_same_while_a_recovery_goes_on(world: World) -> None:
    await world.policy(**POLICY.model_dump(mode="json"))
    first = await before(world, CUSTOMER, paid_on(22, 8))
    failed = await failing(world, CUSTOMER)

    async def timing() -> Any:
        async with world.worker.transaction() as db:
            dossier = await dossiers.open_dossier(db, world.merchant_id, failed.recovery_id)
        assert dossier is not None
        return dossier.timing.earlier

    at_first = await timing()
    assert len(at_first.outcomes) == 1
    await world.pass_time(days=3)
    at = (await failed.recovery())["opened_at"]
    await before(world, CUSTOMER, paid_on(22, 7), ended_at=at + timedelta(days=2))
    # Money that came late, or the merchant's coming back: the first end stays in the timeline.
    later = "UPDATE recoveries SET closed_at = $2 WHERE id = $1"
    await world.execute(later, first, at + timedelta(days=2))
    assert await timing() == at_first
    async with world.database.transaction() as db:
        await db.execute("SET LOCAL session_replication_role = replica")
        await db.execute(
            "UPDATE recoveries SET state = 'open', end_reason = NULL, closed_at = NULL WHERE id = $1", first
        )
    assert await timing() == at_first


async def test_what_says_nothing_of_a_bank_is_passed_by_and_only_the_latest_are_read(
    world: World, now: datetime
) -> None:
    for day in range(12, 12 + REMEMBERED_OF_CUSTOMER + 2):
        await before(world, CUSTOMER, paid_on(day, 7))
    await before(world, CUSTOMER, [Try(now - timedelta(days=9), origin="stripe")])
    assert len((await known(world, now)).outcomes) == REMEMBERED_OF_CUSTOMER


async def test_it_is_read_for_plans_by_belief_only_and_a_recovery_without_a_customer_has_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def earlier(*given: Any) -> None:
        asked.append(given[2])

    monkeypatch.setattr(dossiers, "earlier_of", earlier)
    fixed = Policy.model_validate({"schema_version": 4, "timing": "learned"})
    for policy, expected in ((fixed, False), (POLICY.model_copy(update={"timing": "rules"}), False), (POLICY, True)):
        asked.clear()
        await world.policy(**policy.model_dump(mode="json"))
        failed = await failing(world)
        async with world.worker.transaction() as db:
            await dossiers.open_dossier(db, world.merchant_id, failed.recovery_id)
        assert bool(asked) is expected
    monkeypatch.undo()
    async with world.worker.transaction() as db:
        assert await earlier_of(db, world.merchant_id, None, datetime.fromisoformat("2026-09-08T12:00:00Z")) is None


async def test_a_deleted_customer_is_not_charged_whatever_is_known(world: World) -> None:
    await world.policy(**POLICY.model_dump(mode="json"))
    failed = await failing(world)
    for month in (6, 7, 8):
        await before(world, failed.customer, paid_on(22, month))
    await world.control.delete_customer(failed.customer)
    await world.work()
    row = await failed.recovery()
    assert (row["end_reason"], row["next_attempt_at"], await failed.ours()) == ("customer_deleted", None, [])


async def test_few_rows_are_read_however_many_there_are(world: World, database: Database, now: datetime) -> None:
    async with database.transaction() as db:
        await db.execute("SET LOCAL session_replication_role = replica")
        await db.execute(FILL, world.merchant_id, CUSTOMER, now)
        await db.execute(FILL_ATTEMPTS)
        await db.execute("ANALYZE recoveries, attempts, recovery_timeline")
        await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        (explained,) = await db.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {EARLIER}", now, world.merchant_id, CUSTOMER, REMEMBERED_OF_CUSTOMER
        )
    nodes = list(_nodes(explained["Plan"]))
    assert "recoveries_of_customer" in {each.get("Index Name") for each in nodes}
    assert "Seq Scan" not in {each["Node Type"] for each in nodes if each.get("Relation Name") != "recovery_timeline"}
    read = sum(
        (each["Actual Rows"] + each.get("Rows Removed by Filter", 0)) * each["Actual Loops"]
        for each in nodes
        if "Relation Name" in each
    )
    assert 0 < read < 300


def _nodes(plan: Any) -> Any:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)
