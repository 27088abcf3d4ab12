"""The platform's default policy in the database is the one that the code calls the default."""

from services.worker.recovery import Policy
from shared.database import Database, Role
from shared.ids import InvoiceId, MerchantId
from shared.money import Money
from shared.recovery_model import Entry, EntryKind, FailedInvoice
from tests.conftest import OpenDatabase
from tests.world import open_recovery


async def test_the_default_policy_is_written_out_in_full(database: Database) -> None:
    async with database.transaction() as db:
        [row] = await db.fetch("SELECT version, active, document FROM policies WHERE merchant_id IS NULL AND active")
    assert (row["version"], row["active"]) == (6, True)
    assert row["document"] == Policy.default().model_dump(mode="json")


async def test_a_merchants_own_policy_comes_before_the_platforms(
    database: Database, open_database: OpenDatabase
) -> None:
    async with database.transaction() as db:
        mine = await db.fetchval(
            "INSERT INTO policies (merchant_id, version, active, document) VALUES ('m1', 1, true, '{}') RETURNING id"
        )
    async with open_database(Role.INGRESS) as ingress, ingress.transaction() as db:
        for merchant in (MerchantId("m1"), MerchantId("m2")):
            failed = FailedInvoice(merchant, InvoiceId("in_1"), None, None, Money(1, "eur"))
            await open_recovery(db, failed, Entry(EntryKind.OPENED, "payment_failed", "The renewal failed."))
        pinned = {row["merchant_id"]: row["policy_id"] for row in await db.fetch("SELECT * FROM recoveries")}
    assert pinned["m1"] == mine
    assert pinned["m2"] != mine
