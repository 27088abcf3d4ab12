"""From the worker's own rows to the report: who was drawn, what was read first, and whose payment it was."""

import orjson

from services.ledger.api.select import fetch
from services.ledger.reports.endpoints import report
from services.ledger.reports.schemas import RecoveryReport
from services.ledger.reports.store import GroupBy, select_export
from services.worker.recovery import in_holdout
from shared import recovery_stops
from shared.database import Role
from shared.money import Money
from shared.policy import Policy
from tests.conftest import OpenDatabase
from tests.integration.worker.world import Failed, World

HALF = Policy(holdout_share=0.5, window_days=3, message_days=(0,))


async def _report(world: World, open_database: OpenDatabase, by: GroupBy | None = None) -> RecoveryReport:
    async with open_database(Role.LEDGER) as database, database.transaction() as db:
        return await report(db, world.merchant_id, None, None, by)


async def _exported(world: World, open_database: OpenDatabase) -> dict[str, dict[str, object]]:
    """The export's rows by invoice."""
    async with open_database(Role.LEDGER) as database, database.transaction() as db:
        rows = await fetch(db, select_export(None, {"merchant_id": world.merchant_id}))
    return {row["invoice_id"]: dict(row) for row in rows}


async def _paid_by_the_customer(world: World, failed: Failed) -> None:
    async with world.database.transaction() as db:
        paid = Money(4_200, (await failed.recovery())["currency"])
        await recovery_stops.settle_paid(db, failed.recovery_id, paid, out_of_band=True, source="test")


async def _drawn(world: World) -> tuple[list[Failed], list[Failed]]:
    """Two of the treatment and three of the holdout."""
    worked_on: list[Failed] = []
    held: list[Failed] = []
    while len(worked_on) < 2 or len(held) < 3:
        failed = await world.fail(decline="do_not_honor", clears_after=1)
        (held if in_holdout(HALF, failed.invoice) else worked_on).append(failed)
    return worked_on, held


async def test_what_the_worker_writes_is_counted_as_it_was_drawn(world: World, open_database: OpenDatabase) -> None:
    await world.policy(**orjson.loads(HALF.model_dump_json()))
    worked_on, held = await _drawn(world)
    # Paid before anybody has looked at it: no column says that it is of the holdout, and yet it is.
    await _paid_by_the_customer(world, held[0])
    assert not (await held[0].recovery())["holdout"]
    await world.work()
    await _paid_by_the_customer(world, held[1])
    young = (await _report(world, open_database)).data[0]
    assert young.money[0].young.count == len(worked_on) + len(held)
    assert (young.money[0].counted.count, young.lift.verdict) == (0, "not_enough_data")

    for failed in (*worked_on, *held[2:]):
        await failed.finish()
    await world.pass_time(days=3)

    (group,) = (await _report(world, open_database)).data
    assert (group.lift.treatment.assigned, group.lift.treatment.paid) == (len(worked_on), len(worked_on))
    assert (group.lift.holdout.assigned, group.lift.holdout.paid) == (len(held), 2)
    assert (group.lift.verdict, group.lift.difference) == ("not_enough_data", None)
    (money,) = group.money
    assert (money.ours.retry.count, money.elsewhere.customer.count) == (len(worked_on), 2)
    assert money.ours.retry.amount == 4_200 * len(worked_on)
    assert money.unpaid.count == len(held) - 2

    causes = {each.group: each.money[0].failed.count for each in (await _report(world, open_database, "cause")).data}
    # Stripe's advice says that it may be tried again.
    assert causes == {"try_later": len(worked_on) + len(held) - 1, None: 1}
    exported = await _exported(world, open_database)
    assert {exported[each.invoice]["assigned_to"] for each in held} == {"holdout"}
    assert {exported[each.invoice]["attribution"] for each in worked_on} == {"retry"}
    assert [exported[each.invoice]["attribution"] for each in held[:3]] == ["customer", "customer", "unpaid"]
    one = exported[worked_on[0].invoice]
    assert (one["attempts"], one["stripe_attempts"], one["messages"]) == (1, 1, 1)


async def test_the_first_cause_is_read_before_any_attempt_of_ours(world: World, open_database: OpenDatabase) -> None:
    failed = await world.fail(decline="insufficient_funds")
    await failed.attempt_due()
    await world.control.set_script(failed.payment_method, decline="lost_card")
    await world.work()
    row = await failed.recovery()
    assert (row["first_cause"], row["decline_cause"]) == ("insufficient_funds", "lost_or_stolen")
    await world.pass_time(days=30)
    assert [each.group for each in (await _report(world, open_database, "cause")).data] == ["insufficient_funds"]


async def test_what_stripe_collects_itself_is_stripes(world: World, open_database: OpenDatabase) -> None:
    await world.control.change_account(world.account, stripe_retries=[3])
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await world.pass_time(days=3, minutes=1)
    await failed.finish()
    await world.pass_time(days=30)
    (money,) = (await _report(world, open_database)).data[0].money
    assert (money.elsewhere.stripe.count, money.elsewhere.customer.count, money.recovered.count) == (1, 0, 0)
    assert (await _exported(world, open_database))[failed.invoice]["messages"] == 1
