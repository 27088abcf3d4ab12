"""What the API shows of refunds and disputes: by charge, lower totals, and the amounts beside them."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from shared import recoveries
from shared.ids import ChargeId, MerchantId, RecoveryId
from shared.money import Money
from shared.money_back import Fact, Kind
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

NOW = datetime(2026, 9, 8, 12, tzinfo=UTC)
BOOK = """
INSERT INTO recovered_charges (merchant_id, charge_id, recovery_id, amount, currency, charged_at)
VALUES ($1, $2, $3, $4, 'usd', citadel_now())
"""


@pytest.fixture
async def merchant(world: World) -> MerchantId:
    return await world.connect()


async def recovered(world: World, merchant: MerchantId, charge: str, amount: int = 1_000) -> RecoveryId:
    """A recovery that our retry has collected with this charge."""
    recovery_id = await world.recovery(merchant, amount)
    await world.recovered(recovery_id, amount)
    await world.execute(BOOK, merchant, charge, recovery_id, amount)
    return recovery_id


async def take_back(
    world: World, merchant: MerchantId, kind: Kind, external_id: str, charge: str, amount: int, returned: int = 0
) -> None:
    """Stripe says so of a refund or a dispute."""
    fact = Fact(kind, external_id, ChargeId(charge), None, Money(amount, "usd"), NOW, returned, NOW)
    async with world.database.transaction() as db:
        await recoveries.take_back(db, merchant, fact, {"event_id": f"evt_{external_id}"})


async def all_kinds(world: World, merchant: MerchantId) -> RecoveryId:
    """1,000 recovered; 300 refunded, 500 disputed and 100 of that won back."""
    recovery_id = await recovered(world, merchant, "ch_1")
    await take_back(world, merchant, Kind.REFUND, "re_1", "ch_1", 300)
    await take_back(world, merchant, Kind.DISPUTE, "dp_1", "ch_1", 500)
    await take_back(world, merchant, Kind.DISPUTE, "dp_1", "ch_1", 500, 100)
    return recovery_id


async def test_stats_and_days_are_net_and_name_what_was_taken_back(
    api: Api, world: World, merchant: MerchantId
) -> None:
    await all_kinds(world, merchant)
    (money,) = (await api.get("/v1/stats", merchant_id=merchant)).body["money"]
    assert money["recovered"] == {"amount": 300, "count": 1}
    assert (money["refunded"], money["disputed"], money["won_back"]) == (300, 500, 100)
    assert money["at_risk"] == {"amount": 0, "count": 0}
    (day,) = (await api.get("/v1/metrics/daily", merchant_id=merchant)).body["data"]
    assert day.items() >= {name: money[name] for name in ("recovered", "refunded", "disputed", "won_back")}.items()
    assert (await api.get("/v1/stats")).body["money"] == [money]


async def test_a_recovery_shows_what_was_taken_back_of_it_and_when(
    api: Api, world: World, merchant: MerchantId
) -> None:
    recovery_id = await all_kinds(world, merchant)
    other = await recovered(world, merchant, "ch_2")
    story = (await api.get(f"/v1/recoveries/{recovery_id}")).body
    amounts = {name: story[f"amount_{name}"] for name in ("recovered", "refunded", "disputed", "won_back")}
    assert amounts == {"recovered": 1_000, "refunded": 300, "disputed": 500, "won_back": 100}
    assert (story["state"], story["end_reason"]) == ("recovered", "paid_by_retry")
    told = [(each["kind"], each["detail"]["amount"]) for each in story["timeline"] if "external_id" in each["detail"]]
    assert told == [("refunded", 300), ("disputed", 500), ("dispute_won", 100)]
    listed = (await api.get("/v1/recoveries", merchant_id=merchant)).body["data"]
    assert [(each["id"], each["amount_refunded"]) for each in listed] == [(str(other), 0), (str(recovery_id), 300)]


async def test_the_export_has_the_amounts_and_says_when_nothing_is_left(
    api: Api, world: World, merchant: MerchantId
) -> None:
    kept, gone = await all_kinds(world, merchant), await recovered(world, merchant, "ch_2")
    await take_back(world, merchant, Kind.REFUNDS, "ch_2", "ch_2", 1_000)
    text = (await api.get("/v1/recoveries.csv", merchant_id=merchant)).body
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(text.lstrip("\ufeff")))}
    columns = ("attribution", "amount_recovered", "amount_refunded", "amount_disputed", "amount_won_back")
    assert [rows[str(kept)][name] for name in columns] == ["retry", "1000", "300", "500", "100"]
    assert [rows[str(gone)][name] for name in columns] == ["taken_back", "1000", "1000", "0", "0"]


async def test_the_report_counts_what_is_left_and_nothing_left_as_unpaid(
    api: Api, world: World, merchant: MerchantId
) -> None:
    for number in range(3):
        await recovered(world, merchant, f"ch_{number}")
    await take_back(world, merchant, Kind.REFUND, "re_0", "ch_0", 1_000)
    await take_back(world, merchant, Kind.DISPUTE, "dp_1", "ch_1", 400)
    await world.execute("UPDATE recoveries SET opened_at = opened_at - $1::interval", timedelta(days=40))
    (group,) = (await api.get("/v1/reports/recoveries", merchant_id=merchant)).body["data"]
    (money,) = group["money"]
    assert money["recovered"] == money["ours"]["retry"] == {"amount": 1_600, "count": 2}
    assert money["unpaid"] == money["taken_back"] == {"amount": 1_000, "count": 1}
    assert (money["refunded"], money["disputed"]) == (1_000, 400)
    assert (money["recovered_share"], money["recovered_amount_share"]) == (0.666667, 0.533333)
    text = (await api.get("/v1/reports/recoveries.csv", merchant_id=merchant)).body
    (row,) = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    columns = ("recovered_amount", "refunded_amount", "disputed_amount", "taken_back_count", "taken_back_amount")
    assert [row[name] for name in columns] == ["1600", "1000", "400", "1", "1000"]


async def test_a_payment_that_was_taken_back_in_full_does_not_count_for_the_lift(
    api: Api, world: World, merchant: MerchantId
) -> None:
    await recovered(world, merchant, "ch_0")
    await recovered(world, merchant, "ch_1")
    await take_back(world, merchant, Kind.REFUND, "re_0", "ch_0", 1_000)
    await take_back(world, merchant, Kind.REFUND, "re_1", "ch_1", 999)
    await world.execute("UPDATE recoveries SET opened_at = opened_at - $1::interval", timedelta(days=40))
    await world.execute("ALTER TABLE policies DISABLE TRIGGER USER")
    await world.execute("UPDATE policies SET document = document || '{\"holdout_share\": 0.000000001}'")
    (group,) = (await api.get("/v1/reports/recoveries", merchant_id=merchant)).body["data"]
    assert group["lift"]["treatment"] == {"assigned": 2, "paid": 1, "paid_share": 0.5}


@pytest.mark.parametrize("name", ["refunded", "disputed", "won_back"])
async def test_usage_cannot_take_the_name_of_money_that_was_taken_back(
    api: Api, world: World, merchant: MerchantId, name: str
) -> None:
    usage = {"merchant_id": merchant, "customer_id": "cus_1", "metric_type": name, "amount": 1, "event_name": "calls"}
    answer = await api.post("/v1/usage", usage, Idempotency_Key="once")
    assert answer.status == 422
