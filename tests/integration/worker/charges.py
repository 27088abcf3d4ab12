"""Recovered charges for tests of the money that is taken back of them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from shared import recoveries
from shared.database import Role
from shared.events.incoming import read_event
from shared.events.taking import Accepted, take
from shared.ids import ChargeId
from shared.money import Money
from shared.recovery_model import Entry, EntryKind, MovedMoney
from tests.conftest import OpenDatabase
from tests.integration.worker.world import Failed, World

MONEY_BACK = ("charge.refund", "refund.", "charge.dispute.")


async def recovered(world: World, amount: int = 4_200) -> tuple[Failed, str]:
    """A renewal that our retry has collected, and its charge at Stripe."""
    failed = await world.fail(amount, decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await world.work()
    assert (await failed.recovery())["state"] == "recovered"
    (charge,) = await failed.charges()
    return failed, charge["charge"]


async def forget_charge(world: World, failed: Failed) -> None:
    """As if the recovery's charge were not booked yet, but about to be."""
    await world.execute("DELETE FROM recovered_charges WHERE recovery_id = $1", failed.recovery_id)


async def book_charge(world: World, failed: Failed, charge_id: str) -> None:
    """The worker books the charge, as it does when it has read whose payment it was."""
    charge = await world.control.object(charge_id)
    moved = MovedMoney(
        ChargeId(charge_id),
        charge["payment_intent"],
        Money(charge["amount"], charge["currency"]),
        datetime.fromtimestamp(charge["created"], UTC),
    )
    async with world.worker.transaction() as db:
        entry = Entry(EntryKind.CHANGED, "test", "A test booked it.")
        await recoveries.correct(db, failed.recovery_id, [moved], [], entry)


async def told(world: World, charge_id: str) -> list[dict[str, Any]]:
    """Stripe's events about money that was taken back of this charge, in the order in which they happened."""
    found = [orjson.loads(each.body) for each in world.simulation.world.events.values()]
    return [
        each
        for each in found
        if each["type"].startswith(MONEY_BACK)
        and charge_id in {each["data"]["object"].get("charge"), each["data"]["object"]["id"]}
    ]


async def deliver(open_database: OpenDatabase, events: Iterable[dict[str, Any]]) -> list[Accepted]:
    """The ingress takes these events, one after the other."""
    async with open_database(Role.INGRESS) as ingress:
        answers = []
        for event in events:
            async with ingress.transaction() as db:
                answers.append(await take(db, read_event(event)))
        return answers


async def bank(world: World, charge_id: str) -> dict[str, int]:
    """What the bank's own book says of a charge: the sums that ours must have."""
    sums = dict.fromkeys(("refunded", "disputed", "won_back"), 0)
    names = {"refund": ("refunded", -1), "refund_failed": ("refunded", -1), "dispute_withdrawn": ("disputed", -1)}
    names["dispute_reinstated"] = ("won_back", 1)
    for row in await world.control.book(charge=charge_id):
        if row["kind"] in names:
            name, sign = names[row["kind"]]
            sums[name] += sign * row["amount"]
    return sums


async def booked_back(failed: Failed) -> dict[str, int]:
    """What our book says was taken back of a recovery."""
    sql = "SELECT metric_type, sum(amount)::bigint AS sum FROM usage_logs WHERE recovery_id = $1 GROUP BY 1"
    found = {row["metric_type"]: row["sum"] for row in await failed.world.rows(sql, failed.recovery_id)}
    return {name: found.get(name, 0) for name in ("refunded", "disputed", "won_back")}


async def totals(world: World) -> dict[str, int]:
    """The merchant's money, as the trigger keeps it over all time; the days must add up to the same."""
    columns = ("recovered_cents", "recovered_count", "refunded_cents", "disputed_cents", "won_back_cents")
    sums = []
    for table in ("merchant_totals", "daily_metrics"):
        rows = await world.rows(f"SELECT * FROM {table} WHERE merchant_id = $1", world.merchant_id)  # noqa: S608
        sums.append({name: sum(row[name] for row in rows) for name in columns})
    assert sums[0] == sums[1]
    return sums[0]
