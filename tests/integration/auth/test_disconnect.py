"""A merchant is disconnected: our work ends first, then Stripe is told, and what could not be told is said."""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from services.auth import keys
from shared import recoveries
from shared.api_keys import Scope
from shared.database import Database
from shared.ids import AccountId, CustomerId, InvoiceId, MerchantId, RecoveryId, SubscriptionId
from shared.money import Money
from shared.recovery_model import Entry, EntryKind, FailedInvoice, RecoveryState
from simulator import SimulatorClient
from tests.integration.auth.conftest import Auth, Browser, disconnect, merchant_of
from tests.world import World, open_recovery

WHY = Entry(EntryKind.CHANGED, "test", "A test changed it.")


@dataclass(frozen=True)
class Shop:
    """A connected merchant with a recovery that waits and one whose attempt is in flight."""

    merchant_id: MerchantId
    account: AccountId
    waiting: RecoveryId
    attempting: RecoveryId


async def _open(database: Database, merchant_id: MerchantId, invoice_id: InvoiceId, currency: str) -> RecoveryId:
    async with database.transaction() as db:
        failed = FailedInvoice(
            merchant_id, invoice_id, SubscriptionId("sub_1"), CustomerId("cus_1"), Money(4200, currency)
        )
        recovery_id = await open_recovery(db, failed, WHY)
    assert recovery_id is not None
    return recovery_id


async def open_shop(browser: Browser, database: Database, control: SimulatorClient) -> Shop:
    account = AccountId((await control.add_account())["id"])
    merchant_id = (await browser.connect(account)).json["merchant_id"]
    waiting = await _open(database, merchant_id, InvoiceId("in_1"), "usd")
    attempting = await _open(database, merchant_id, InvoiceId("in_2"), "eur")
    async with database.transaction() as db:
        await recoveries.change(db, waiting, RecoveryState.WAITING, WHY)
        await recoveries.change(db, attempting, RecoveryState.ATTEMPTING, WHY)
        await db.execute(
            "UPDATE scheduled_tasks SET status = 'running', locked_by = 'w', fence = 1, attempts = 1, "
            "lease_expires_at = clock_timestamp() + interval '1 minute' WHERE recovery_id = $1",
            attempting,
        )
    return Shop(merchant_id, account, waiting, attempting)


@pytest.fixture
async def shop(browser: Browser, database: Database, control: SimulatorClient) -> Shop:
    return await open_shop(browser, database, control)


async def recovery(database: Database, recovery_id: RecoveryId) -> asyncpg.Record:
    async with database.transaction() as db:
        row = await db.fetchrow("SELECT * FROM recoveries WHERE id = $1", recovery_id)
    assert row is not None
    return row


async def task_statuses(database: Database, merchant_id: MerchantId) -> dict[str, str]:
    async with database.transaction() as db:
        rows = await db.fetch("SELECT unique_key, status FROM scheduled_tasks WHERE merchant_id = $1", merchant_id)
    return {row["unique_key"]: row["status"] for row in rows}


async def assert_our_side_ended(database: Database, shop: Shop) -> None:
    merchant = await merchant_of(database, shop.account)
    assert merchant["status"] == "disconnected"
    assert merchant["access_token"] is merchant["refresh_token"] is None
    assert merchant["disconnected_at"] is not None
    waiting = await recovery(database, shop.waiting)
    assert (waiting["state"], waiting["end_reason"]) == ("stopped", "merchant_gone")
    assert (await recovery(database, shop.attempting))["stop_requested"] == "merchant_gone"
    assert "pending" not in (await task_statuses(database, shop.merchant_id)).values()


async def is_connected(control: SimulatorClient, account: AccountId) -> bool:
    (found,) = [one for one in await control.accounts() if one["id"] == account]
    return bool(found["connected"])


async def test_all_work_ends_and_stripe_is_told(
    auth: Auth, shop: Shop, database: Database, control: SimulatorClient, platform_key: str
) -> None:
    answer = await disconnect(auth, platform_key, shop.merchant_id)
    assert answer.status == 200
    assert answer.json == {
        "merchant_id": shop.merchant_id,
        "stripe_connect_id": shop.account,
        "status": "disconnected",
        "stripe": "deauthorized",
        "recoveries_stopped": 2,
        "tasks_canceled": 1,  # the digest; the recoveries' own were canceled with them
    }
    await assert_our_side_ended(database, shop)
    assert await task_statuses(database, shop.merchant_id) == {
        f"send_weekly_digest:{shop.merchant_id}": "canceled",
        f"dunning_retry:{shop.waiting}": "canceled",
        f"dunning_retry:{shop.attempting}": "running",
    }
    assert not await is_connected(control, shop.account)


async def test_an_attempt_in_flight_is_not_ended_for_its_charge_may_have_happened(
    auth: Auth, shop: Shop, database: Database, platform_key: str
) -> None:
    await disconnect(auth, platform_key, shop.merchant_id)
    row = await recovery(database, shop.attempting)
    assert (row["state"], row["stop_requested"]) == ("attempting", "merchant_gone")
    assert row["closed_at"] is None


async def test_the_money_that_is_given_up_is_booked_and_told(
    auth: Auth, shop: Shop, database: Database, platform_key: str
) -> None:
    await disconnect(auth, platform_key, shop.merchant_id)
    async with database.transaction() as db:
        booked = await db.fetch("SELECT amount, currency FROM usage_logs WHERE metric_type = 'recovery_stopped'")
        told = await db.fetch("SELECT rule, to_state FROM recovery_timeline WHERE rule = 'merchant_gone' ORDER BY id")
    assert [tuple(row) for row in booked] == [(4200, "usd")]
    assert sorted(row["to_state"] for row in told) == ["attempting", "stopped"]


async def test_other_merchants_go_on(
    auth: Auth, shop: Shop, browser: Browser, database: Database, control: SimulatorClient, platform_key: str
) -> None:
    other = await open_shop(browser, database, control)
    before = await merchant_of(database, other.account), await task_statuses(database, other.merchant_id)
    assert (await disconnect(auth, platform_key, shop.merchant_id)).status == 200
    assert (await merchant_of(database, other.account), await task_statuses(database, other.merchant_id)) == before
    assert (await recovery(database, other.waiting))["state"] == "waiting"
    assert await is_connected(control, other.account)


async def test_to_repeat_it_is_no_error(auth: Auth, shop: Shop, database: Database, platform_key: str) -> None:
    first = await disconnect(auth, platform_key, shop.merchant_id)
    before = await merchant_of(database, shop.account)
    second = await disconnect(auth, platform_key, shop.merchant_id)
    assert first.status == second.status == 200
    assert second.json["stripe"] == "was_not_connected"
    assert second.json["tasks_canceled"] == 0
    assert await merchant_of(database, shop.account) == before


async def test_several_at_once_all_succeed_and_book_once(
    auth: Auth, shop: Shop, database: Database, platform_key: str
) -> None:
    answers = await asyncio.gather(*(disconnect(auth, platform_key, shop.merchant_id) for _ in range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    await assert_our_side_ended(database, shop)
    async with database.transaction() as db:
        assert await db.fetchval("SELECT count(*) FROM usage_logs WHERE metric_type = 'recovery_stopped'") == 1


async def test_an_account_that_left_by_itself_counts_as_disconnected(
    auth: Auth, shop: Shop, database: Database, control: SimulatorClient, platform_key: str
) -> None:
    await control.deauthorize(shop.account)
    answer = await disconnect(auth, platform_key, shop.merchant_id)
    assert (answer.status, answer.json["stripe"]) == (200, "was_not_connected")
    await assert_our_side_ended(database, shop)


async def test_a_merchant_that_stripe_said_is_gone_stays_deauthorized(
    auth: Auth, shop: Shop, database: Database, control: SimulatorClient, platform_key: str
) -> None:
    await control.deauthorize(shop.account)
    async with database.transaction() as db:
        await db.execute("UPDATE merchants SET status = 'deauthorized', access_token = NULL, refresh_token = NULL")
    answer = await disconnect(auth, platform_key, shop.merchant_id)
    assert (answer.status, answer.json["status"]) == (200, "deauthorized")
    assert (await recovery(database, shop.waiting))["state"] == "stopped"


FAULTS = [{"kind": "server_error"}, {"kind": "timeout", "seconds": 3}, {"kind": "drop"}, {"kind": "truncate"}]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["kind"])
async def test_when_stripe_is_away_our_work_has_ended_all_the_same_and_a_repeat_tells_stripe(
    auth: Auth, shop: Shop, database: Database, control: SimulatorClient, platform_key: str, fault: dict[str, Any]
) -> None:
    await control.add_fault(path="/oauth/deauthorize", **fault)
    answer = await disconnect(auth, platform_key, shop.merchant_id)
    assert (answer.status, answer.problem) == (503, "stripe-away")
    assert "has ended here" in answer.json["detail"]
    assert "Repeat" in answer.json["detail"]
    await assert_our_side_ended(database, shop)
    await control.clear_faults()
    assert (await disconnect(auth, platform_key, shop.merchant_id)).status == 200
    assert not await is_connected(control, shop.account)


@pytest.mark.parametrize("changed_settings", [{"stripe_client_id": "ca_wrong"}])
async def test_a_wrong_client_id_is_not_taken_for_not_connected(
    auth: Auth, database: Database, control: SimulatorClient, platform_key: str, changed_settings: dict[str, Any]
) -> None:
    """Stripe says invalid_client to both."""
    assert changed_settings
    account = AccountId((await control.add_account(connected=True))["id"])
    merchant_id = await World(database).connect(account, tokens=False)
    answer = await disconnect(auth, platform_key, merchant_id)
    assert (answer.status, answer.problem) == (502, "stripe-refused")
    assert (await merchant_of(database, account))["status"] == "disconnected"
    assert await is_connected(control, account)


async def test_a_busy_merchant_is_a_503_that_changed_nothing(
    auth: Auth, shop: Shop, database: Database, control: SimulatorClient, platform_key: str
) -> None:
    """Another transaction holds the recovery, then wants the merchant: a deadlock that ours is to lose or win."""
    async with database.transaction() as db:
        await db.execute("SELECT FROM recoveries WHERE id = $1 FOR UPDATE", shop.waiting)
        asked = asyncio.create_task(disconnect(auth, platform_key, shop.merchant_id))
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while not await db.fetchval(waiting):
            assert not asked.done()
        try:
            async with db.transaction():
                await db.execute("SET LOCAL deadlock_timeout = '10s'")  # so that ours, after 1 s, is the one to lose
                await db.execute("SELECT FROM merchants WHERE stripe_connect_id = $1 FOR UPDATE", shop.account)
        except asyncpg.DeadlockDetectedError:
            pytest.fail("the service was to notice first")
        answer = await asked
    assert (answer.status, answer.problem) == (503, "busy")
    assert (await merchant_of(database, shop.account))["status"] == "active"
    assert await is_connected(control, shop.account)
    assert (await disconnect(auth, platform_key, shop.merchant_id)).status == 200


# -- who may -------------------------------------------------------------------------------------


async def test_a_merchants_own_key_disconnects_that_merchant_and_no_other(
    auth: Auth, shop: Shop, browser: Browser, database: Database, control: SimulatorClient
) -> None:
    other = await open_shop(browser, database, control)
    _, own = await keys.create_key(database, "own", [Scope.MERCHANTS_WRITE], shop.merchant_id)
    refused = await disconnect(auth, own, other.merchant_id)
    assert (refused.status, refused.problem) == (404, "not-found")
    assert (await merchant_of(database, other.account))["status"] == "active"
    assert (await disconnect(auth, own, shop.merchant_id)).status == 200


async def test_another_merchant_and_no_merchant_look_the_same(
    auth: Auth, shop: Shop, browser: Browser, database: Database, control: SimulatorClient
) -> None:
    other = await open_shop(browser, database, control)
    _, own = await keys.create_key(database, "own", [Scope.MERCHANTS_WRITE], shop.merchant_id)
    answers = [await disconnect(auth, own, merchant_id) for merchant_id in (other.merchant_id, str(uuid4()))]
    assert answers[0].status == answers[1].status == 404
    bodies = [{**answer.json, "request_id": ""} for answer in answers]
    assert bodies[0] == bodies[1]


async def test_an_unknown_merchant_is_a_404(auth: Auth, platform_key: str) -> None:
    assert (await disconnect(auth, platform_key, str(uuid4()))).status == 404


@pytest.mark.parametrize("secret", [None, "ctdl_unknown", "sk_test_simulator", ""])
async def test_without_a_valid_key_it_is_a_401(auth: Auth, shop: Shop, database: Database, secret: str | None) -> None:
    answer = await disconnect(auth, secret, shop.merchant_id)
    assert (answer.status, answer.problem) == (401, "unauthenticated")
    assert (await merchant_of(database, shop.account))["status"] == "active"


@pytest.mark.parametrize("secret", [b"ctdl_\xff\xfe", b"ctdl_\xed\xb3\xbf", b"\xff", "ctdl_é".encode()])
async def test_a_key_of_bytes_that_are_no_text_is_a_401_too(auth: Auth, secret: bytes) -> None:
    """By hand: no client library sends it."""
    where = urlsplit(auth.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(
        b"POST /auth/stripe/disconnect HTTP/1.1\r\nHost: auth\r\nContent-Length: 2\r\nConnection: close\r\n"
        b"Authorization: Bearer " + secret + b"\r\n\r\n{}"
    )
    status_line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert status_line.split()[1] == b"401"


async def test_a_key_without_the_scope_is_a_403(auth: Auth, shop: Shop, database: Database) -> None:
    _, reader = await keys.create_key(database, "reader", set(Scope) - {Scope.MERCHANTS_WRITE})
    answer = await disconnect(auth, reader, shop.merchant_id)
    assert (answer.status, answer.problem) == (403, "missing-scope")
    assert (await merchant_of(database, shop.account))["status"] == "active"


@pytest.mark.parametrize("merchant_id", [None, "x", 7, [], {"id": 1}])
async def test_a_body_that_names_no_merchant_is_a_422(auth: Auth, platform_key: str, merchant_id: object) -> None:
    answer = await disconnect(auth, platform_key, merchant_id)
    assert (answer.status, answer.problem) == (422, "invalid-body")
    assert answer.json["errors"][0]["field"] == "merchant_id"
