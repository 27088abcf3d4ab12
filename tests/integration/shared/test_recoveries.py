"""The life of a recovery in the database: each change is checked, told in the timeline, and booked once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from shared import recoveries, recovery_stops
from shared.database import Connection, Database, Role
from shared.ids import CustomerId, InvoiceId, MerchantId, RecoveryId, SubscriptionId
from shared.money import Money
from shared.queue import queued, tasks
from shared.recovery_model import ENDS, EndReason, Entry, EntryKind, FailedInvoice, RecoveredBy, RecoveryState
from tests.conftest import OpenDatabase
from tests.world import open_recovery

MERCHANT, INVOICE = MerchantId("m1"), InvoiceId("in_1")
DUE = Money(4200, "eur")
WHY = Entry(EntryKind.CHANGED, "test", "A test changed it.")


@dataclass(frozen=True)
class Opened:
    """A database with one open recovery in it."""

    database: Database
    recovery_id: RecoveryId

    async def change(self, *states: RecoveryState) -> None:
        async with self.database.transaction() as db:
            for state in states:
                await recoveries.change(db, self.recovery_id, state, WHY)

    async def recovery(self) -> asyncpg.Record:
        async with self.database.transaction() as db:
            row = await db.fetchrow("SELECT * FROM recoveries WHERE id = $1", self.recovery_id)
            assert row is not None
            return row

    async def statuses(self) -> list[str]:
        async with self.database.transaction() as db:
            rows = await db.fetch("SELECT status FROM scheduled_tasks ORDER BY id")
            return [row["status"] for row in rows]

    async def totals(self) -> asyncpg.Record:
        async with self.database.transaction() as db:
            row = await db.fetchrow("SELECT * FROM merchant_totals WHERE merchant_id = 'm1'")
            assert row is not None
            return row


async def open_one(db: Connection, invoice_id: InvoiceId = INVOICE) -> RecoveryId | None:
    entry = Entry(EntryKind.OPENED, "payment_failed", "The renewal failed.")
    failed = FailedInvoice(MERCHANT, invoice_id, SubscriptionId("sub_1"), CustomerId("cus_1"), DUE)
    return await open_recovery(db, failed, entry)


@pytest.fixture
async def opened(open_database: OpenDatabase) -> AsyncIterator[Opened]:
    async with open_database(Role.INGRESS) as ingress, ingress.transaction() as db:
        recovery_id = await open_one(db)
    assert recovery_id is not None
    async with open_database(Role.WORKER) as worker:
        yield Opened(worker, recovery_id)


async def test_opening_queues_one_evaluation_and_books_what_is_due(opened: Opened) -> None:
    assert await opened.statuses() == ["pending"]
    totals = await opened.totals()
    assert (totals["currency"], totals["failed_cents"], totals["failed_count"]) == ("eur", 4200, 1)


async def test_an_invoice_has_one_recovery_whatever_arrives_at_once(open_database: OpenDatabase) -> None:
    async with open_database(Role.INGRESS) as ingress:

        async def accept() -> RecoveryId | None:
            async with ingress.transaction() as db:
                return await open_one(db, InvoiceId("in_twice"))

        opened = await asyncio.gather(*(accept() for _ in range(8)))
    assert len([recovery_id for recovery_id in opened if recovery_id]) == 1


async def test_without_any_policy_nothing_is_opened(database: Database) -> None:
    async with database.transaction() as db:
        await db.execute("DELETE FROM policies")
        with pytest.raises(LookupError, match="no policy is active"):
            await open_one(db)


@pytest.mark.parametrize("end", sorted(ENDS))
async def test_an_end_is_final(opened: Opened, end: RecoveryState) -> None:
    recovered = end is RecoveryState.RECOVERED
    async with opened.database.transaction() as db:
        assert await recoveries.close(
            db,
            opened.recovery_id,
            end,
            EndReason.VOIDED,
            WHY,
            recovered=DUE if recovered else None,
            recovered_by=RecoveredBy.RETRY if recovered else None,
        )
    with pytest.raises(asyncpg.CheckViolationError, match="no way from"):
        await opened.change(RecoveryState.WAITING)
    async with opened.database.transaction() as db:
        assert not await recoveries.close(db, opened.recovery_id, RecoveryState.STOPPED, EndReason.VOIDED, WHY)
        assert not await recovery_stops.request_stop(db, opened.recovery_id, EndReason.VOIDED, WHY)
    totals = await opened.totals()
    assert totals["recovered_count"] + totals["exhausted_count"] + totals["stopped_count"] == 1
    assert totals[f"{end}_cents"] == 4200
    assert await opened.statuses() == ["canceled"]


async def test_two_closes_at_once_book_once(opened: Opened) -> None:
    async def close() -> bool:
        async with opened.database.transaction() as db:
            return await recoveries.close(
                db, opened.recovery_id, RecoveryState.EXHAUSTED, EndReason.ATTEMPTS_USED_UP, WHY
            )

    assert sorted(await asyncio.gather(*(close() for _ in range(5)))) == [False] * 4 + [True]
    assert (await opened.totals())["exhausted_cents"] == 4200


async def test_the_database_refuses_to_book_an_end_twice(opened: Opened) -> None:
    async with opened.database.transaction() as db:
        await recoveries.book(db, MERCHANT, "recovery_recovered", DUE, opened.recovery_id)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with opened.database.transaction() as db:
            await recoveries.book(db, MERCHANT, "recovery_stopped", DUE, opened.recovery_id)


async def test_a_stop_ends_a_waiting_recovery_and_cancels_its_tasks(opened: Opened) -> None:
    await opened.change(RecoveryState.WAITING)
    async with opened.database.transaction() as db:
        assert await recovery_stops.request_stop(db, opened.recovery_id, EndReason.VOIDED, WHY)
    row = await opened.recovery()
    assert (row["state"], row["end_reason"]) == ("stopped", EndReason.VOIDED)
    assert await opened.statuses() == ["canceled"]


async def test_a_stop_during_an_attempt_is_noted_and_the_first_one_counts(opened: Opened) -> None:
    await opened.change(RecoveryState.ATTEMPTING)
    async with opened.database.transaction() as db:
        await recovery_stops.request_stop(db, opened.recovery_id, EndReason.SUBSCRIPTION_CANCELED, WHY)
        await recovery_stops.request_stop(db, opened.recovery_id, EndReason.VOIDED, WHY)
    row = await opened.recovery()
    assert (row["state"], row["stop_requested"]) == ("attempting", EndReason.SUBSCRIPTION_CANCELED)
    # Somebody has to learn the outcome of the attempt: one task to do so is left, or made.
    assert [status for status in await opened.statuses() if status != "canceled"] == ["pending"]


async def test_paid_after_a_message_is_ours(opened: Opened) -> None:
    async with opened.database.transaction() as db:
        await recoveries.record(
            db, opened.recovery_id, Entry(EntryKind.MESSAGED, "day_0", "The customer got a message.")
        )
        await recovery_stops.settle_paid(db, opened.recovery_id, DUE, out_of_band=False, source="invoice.paid")
    row = await opened.recovery()
    assert (row["state"], row["recovered_by"], row["amount_recovered"]) == ("recovered", "message", 4200)


@pytest.mark.parametrize(("messaged", "out_of_band"), [(False, False), (True, True)])
async def test_paid_elsewhere_is_not_counted_as_ours(opened: Opened, messaged: bool, out_of_band: bool) -> None:
    async with opened.database.transaction() as db:
        if messaged:
            await recoveries.record(db, opened.recovery_id, Entry(EntryKind.MESSAGED, "day_0", "A message."))
        await recovery_stops.settle_paid(db, opened.recovery_id, DUE, out_of_band=out_of_band, source="invoice.paid")
    assert (await opened.recovery())["end_reason"] == "paid_elsewhere"
    totals = await opened.totals()
    assert (totals["recovered_cents"], totals["stopped_cents"]) == (0, 4200)


async def test_every_change_is_told_with_where_it_came_from_and_why(opened: Opened) -> None:
    await opened.change(RecoveryState.WAITING, RecoveryState.ATTEMPTING, RecoveryState.NEEDS_NEW_METHOD)
    async with opened.database.transaction() as db:
        rows = await db.fetch(
            "SELECT from_state, to_state, rule FROM recovery_timeline WHERE recovery_id = $1 ORDER BY id",
            opened.recovery_id,
        )
    assert [tuple(row) for row in rows] == [
        (None, "open", "payment_failed"),
        ("open", "waiting", "test"),
        ("waiting", "attempting", "test"),
        ("attempting", "needs_new_method", "test"),
    ]


async def test_an_end_that_does_not_say_how_it_recovered_is_refused(opened: Opened) -> None:
    async with opened.database.transaction() as db:
        with pytest.raises(ValueError, match="how much and by what"):
            await recoveries.close(db, opened.recovery_id, RecoveryState.RECOVERED, EndReason.PAID_BY_RETRY, WHY)


async def test_a_second_task_of_one_unique_key_is_not_queued_while_the_first_lives(opened: Opened) -> None:
    task = tasks.NewTask(MERCHANT, "dunning_retry", unique_key=f"dunning_retry:{opened.recovery_id}")
    async with opened.database.transaction() as db:
        assert await tasks.enqueue(db, task) is None
        await queued.cancel_of_recovery(db, opened.recovery_id, "test")
        assert await tasks.enqueue(db, task) is not None
