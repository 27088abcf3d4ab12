"""A merchant connects its Stripe account, and everything that can go wrong on the way."""

import asyncio
import socket
import time
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from services.auth.app import create_app
from services.auth.merchants import next_digest_at
from services.auth.oauth import StateIssuer
from services.auth.tokens import unseal
from shared.clock import travel_to
from shared.crypto import Signer, Undecryptable
from shared.database import Database, Role
from shared.ids import AccountId
from shared.stripe_clients import StripeClientFactory
from simulator import CLIENT_ID, SimulatorClient
from tests.conftest import OpenDatabase
from tests.integration.auth.conftest import (
    STATE_SECRET,
    Answer,
    Auth,
    Browser,
    auth_settings,
    count,
    disconnect,
    merchant_of,
    with_query,
)
from tests.simulated import Simulated
from tests.world import World

PAGE = "text/html,application/xhtml+xml,*/*;q=0.8"


# -- the way there -------------------------------------------------------------------------------


async def test_a_merchant_is_sent_to_stripe_with_everything_that_stripe_needs(auth: Auth, browser: Browser) -> None:
    answer = await browser.get(f"{auth.url}/auth/stripe")
    where = urlsplit(answer.headers["Location"])
    query = parse_qs(where.query)
    state = query.pop("state")
    assert answer.status == 302
    assert f"{where.scheme}://{where.netloc}" == auth.settings.stripe_connect_base
    assert where.path == "/oauth/authorize"
    assert query == {
        "response_type": ["code"],
        "client_id": [CLIENT_ID],
        "scope": ["read_write"],
        "redirect_uri": [f"{auth.url}/auth/stripe/callback"],
    }
    assert len(state[0]) > 100
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_cookie_is_for_this_flow_alone(auth: Auth, browser: Browser) -> None:
    answer = await browser.get(f"{auth.url}/auth/stripe")
    (cookie,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert cookie["httponly"] is True
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("Lax", "/auth/stripe", "600")
    assert cookie["secure"] == ""  # the test's public URL is http
    state = parse_qs(urlsplit(answer.headers["Location"]).query)["state"][0]
    assert cookie.value not in answer.headers["Location"]
    assert cookie.value not in state


@pytest.mark.parametrize("changed_settings", [{"public_url": "https://pay.example/citadel/"}])
async def test_behind_https_and_a_path_the_cookie_is_secure_and_has_the_whole_path(
    auth: Auth, changed_settings: dict[str, Any]
) -> None:
    assert changed_settings
    async with Browser(auth) as browser:
        answer = await browser.get(f"{auth.url}/auth/stripe")
    (cookie,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert cookie["secure"] is True
    assert cookie["path"] == "/citadel/auth/stripe"
    back = parse_qs(urlsplit(answer.headers["Location"]).query)["redirect_uri"]
    assert back == ["https://pay.example/citadel/auth/stripe/callback"]


async def test_only_a_hash_of_the_nonce_is_kept_and_it_is_gone_once_used(
    browser: Browser, database: Database, account: AccountId
) -> None:
    scene, clock = World(database), "SELECT clock_timestamp()"
    before = await scene.value(clock)
    back = await browser.agree(await browser.begin(), sim_account=account)
    after = await scene.value(clock)
    (row,) = await scene.rows("SELECT * FROM oauth_states")
    assert len(row["nonce_hash"]) == 32
    assert before <= row["expires_at"] - timedelta(minutes=10) <= after
    assert (await browser.get(back)).status == 200
    assert await count(database, "oauth_states") == 0


@pytest.mark.parametrize("path", ["/auth/stripe", "/auth/stripe/callback"])
async def test_a_head_request_begins_and_uses_nothing(
    auth: Auth, browser: Browser, database: Database, path: str
) -> None:
    async with browser.session.head(auth.url + path, allow_redirects=False) as answer:
        assert answer.status == 405
    assert await count(database, "oauth_states") == 0


# -- connected -----------------------------------------------------------------------------------


async def test_the_whole_way_makes_an_active_merchant(browser: Browser, database: Database, account: AccountId) -> None:
    answer = await browser.connect(account)
    merchant = await merchant_of(database, account)
    assert answer.status == 200
    assert answer.json == {
        "merchant_id": str(merchant["id"]),
        "stripe_connect_id": account,
        "livemode": False,
        "status": "active",
        "reconnected": False,
    }
    assert merchant["stripe_user_id"] == account
    assert (merchant["status"], merchant["tier"], merchant["oauth_scope"]) == ("active", "FREE", "read_write")
    assert merchant["livemode"] is False
    assert merchant["connected_at"] is not None
    assert merchant["disconnected_at"] is None


async def test_tokens_are_not_stored_in_plain_text_and_belong_to_their_row_and_column(
    auth: Auth, browser: Browser, database: Database, control: SimulatorClient
) -> None:
    accounts = [AccountId((await control.add_account())["id"]) for _ in range(2)]
    for account in accounts:
        assert (await browser.connect(account)).status == 200
    one, other = [await merchant_of(database, account) for account in accounts]
    ring = auth.settings.key_ring
    for row in (one, other):
        assert row["access_token"].startswith("v1.k1.")
        assert "sk_" not in row["access_token"]
        assert (unseal(ring, row["access_token"], row["stripe_connect_id"], "access_token") or "").startswith("sk_")
        assert (unseal(ring, row["refresh_token"], row["stripe_connect_id"], "refresh_token") or "").startswith("rt_")
    with pytest.raises(Undecryptable):
        unseal(ring, one["access_token"], accounts[1], "access_token")
    with pytest.raises(Undecryptable):
        unseal(ring, one["access_token"], accounts[0], "refresh_token")


async def test_the_first_weekly_digest_is_queued_for_the_next_monday_of_business_time(
    browser: Browser, database: Database, account: AccountId
) -> None:
    wednesday = datetime(2027, 3, 10, 15, tzinfo=UTC)
    async with database.transaction() as db:
        await travel_to(db, wednesday)
    merchant_id = (await browser.connect(account)).json["merchant_id"]
    async with database.transaction() as db:
        task = await db.fetchrow("SELECT * FROM scheduled_tasks")
    assert task is not None
    assert (task["merchant_id"], task["task_type"], task["payload"]) == (merchant_id, "send_weekly_digest", {})
    assert task["unique_key"] == f"send_weekly_digest:{merchant_id}"
    assert task["run_at"] == next_digest_at(wednesday) == datetime(2027, 3, 15, 8, tzinfo=UTC)


async def test_connecting_again_keeps_the_id_and_the_one_digest_and_renews_the_tokens(
    browser: Browser, database: Database, account: AccountId
) -> None:
    first = await browser.connect(account)
    before = await merchant_of(database, account)
    second = await browser.connect(account)
    after = await merchant_of(database, account)
    assert second.json == {**first.json, "reconnected": True}
    assert after["access_token"] != before["access_token"]
    assert after["connected_at"] > before["connected_at"]
    assert await count(database, "merchants") == 1
    assert await count(database, "scheduled_tasks") == 1


@pytest.mark.parametrize("left", ["disconnected", "deauthorized"])
async def test_a_merchant_that_left_comes_back_under_its_id(
    left: str, auth: Auth, browser: Browser, database: Database, account: AccountId, platform_key: str
) -> None:
    first = await browser.connect(account)
    if left == "disconnected":
        assert (await disconnect(auth, platform_key, first.json["merchant_id"])).status == 200
    else:
        async with database.transaction() as db:
            await db.execute(
                "UPDATE merchants SET status = 'deauthorized', access_token = NULL, refresh_token = NULL, "
                "disconnected_at = citadel_now()"
            )
            await db.execute("UPDATE scheduled_tasks SET status = 'canceled'")
    second = await browser.connect(account)
    merchant = await merchant_of(database, account)
    assert second.json == {**first.json, "reconnected": True}
    assert merchant["status"] == "active"
    assert merchant["access_token"] is not None
    assert merchant["disconnected_at"] is None
    async with database.transaction() as db:
        statuses = await db.fetch("SELECT status FROM scheduled_tasks ORDER BY id")
    assert [row["status"] for row in statuses] == ["canceled", "pending"]


async def test_the_connection_counts_from_before_the_exchange(
    browser: Browser, database: Database, stripe: Simulated, account: AccountId
) -> None:
    """A deauthorization while the exchange is under way must look newer than the connection, not older."""
    back = await browser.agree(await browser.begin(), sim_account=account)
    with stripe.door.holding("POST", "/oauth/token") as exchange:
        calling = asyncio.create_task(browser.get(back))
        await exchange.has_arrived()
        assert await count(database, "oauth_states") == 0
        async with database.transaction() as db:
            meanwhile = await db.fetchval("SELECT citadel_now()")
    assert (await calling).status == 200
    assert (await merchant_of(database, account))["connected_at"] <= meanwhile


async def test_a_browser_sees_a_page_without_scripts(auth: Auth, browser: Browser, account: AccountId) -> None:
    answer = await browser.get(await browser.agree(await browser.begin(), sim_account=account), accept=PAGE)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert account in answer.text
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("changed_settings", [{"after_connect_url": "https://app.example/welcome?from=stripe"}])
async def test_a_platform_may_have_the_browser_sent_on_with_the_merchants_id(
    browser: Browser, database: Database, account: AccountId, changed_settings: dict[str, Any]
) -> None:
    assert changed_settings
    answer = await browser.get(await browser.agree(await browser.begin(), sim_account=account), accept=PAGE)
    merchant = await merchant_of(database, account)
    assert answer.status == 302
    assert answer.headers["Location"] == f"https://app.example/welcome?from=stripe&merchant={merchant['id']}"


@pytest.mark.parametrize("accept", [PAGE, "application/json"])
async def test_nothing_in_the_callbacks_address_can_send_the_browser_elsewhere(
    browser: Browser, account: AccountId, accept: str
) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    elsewhere = with_query(
        back, redirect_uri="https://evil.example", next="//evil.example", after_connect_url="https://evil.example"
    )
    answer = await browser.get(elsewhere, accept=accept)
    assert answer.status == 200
    assert "evil" not in answer.text + str(answer.headers)


@pytest.mark.parametrize("path", ["/auth/stripe", "/auth/stripe/callback", "/auth/stripe/disconnect", "/nowhere"])
async def test_every_answer_is_neither_kept_nor_sniffed_nor_tells_where_it_was(
    auth: Auth, browser: Browser, path: str
) -> None:
    answer = await browser.get(auth.url + path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


# -- the state -----------------------------------------------------------------------------------


async def refused(browser: Browser, database: Database, url: str, problem: str = "state-refused") -> Answer:
    answer = await browser.get(url)
    assert (answer.status, answer.problem) == (400, problem)
    assert await count(database, "merchants") == 0
    return answer


async def test_several_tabs_of_one_browser_all_arrive(
    browser: Browser, database: Database, control: SimulatorClient
) -> None:
    accounts = [AccountId((await control.add_account())["id"]) for _ in range(3)]
    consents = await asyncio.gather(*(browser.begin() for _ in accounts))
    pairs = zip(accounts, consents, strict=True)
    backs = [await browser.agree(consent, sim_account=account) for account, consent in pairs]
    answers = [await browser.get(back) for back in reversed(backs)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert await count(database, "merchants") == 3


async def test_a_browser_that_begins_over_and_over_keeps_few_cookies(
    auth: Auth, browser: Browser, account: AccountId
) -> None:
    for _ in range(30):
        last = await browser.begin()
    assert len(list(browser.session.cookie_jar)) <= 22
    assert (await browser.get(await browser.agree(last, sim_account=account))).status == 200


async def test_a_state_is_good_for_one_callback(browser: Browser, database: Database, account: AccountId) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    assert (await browser.get(back)).status == 200
    again = await browser.get(back)
    assert (again.status, again.problem) == (400, "state-refused")
    assert await count(database, "merchants") == 1


async def test_of_many_callbacks_with_one_state_at_once_one_goes_through(
    browser: Browser, control: SimulatorClient, account: AccountId
) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    answers = await asyncio.gather(*(browser.get(back) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400]
    assert len(await control.requests(path="/oauth/token")) <= 1


async def test_another_browser_cannot_use_a_state(
    auth: Auth, browser: Browser, database: Database, account: AccountId
) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    async with Browser(auth) as without_cookie, Browser(auth) as with_its_own:
        await with_its_own.begin()
        await refused(without_cookie, database, back)
        await refused(with_its_own, database, back)
    assert (await browser.get(back)).status == 200, "the right browser still can"


async def test_a_forged_state_is_refused(browser: Browser, database: Database, account: AccountId) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    state = parse_qs(urlsplit(back).query)["state"][0]
    body, signature = state.split(".")
    other = Signer(b"another secret of at least 32 bytes!", "oauth-state").sign({"nonce": "n", "browser": "b"}, 2**40)
    for forged in ("", "x", ".", state[:-1], f"{body}x.{signature}", f"{body}.{signature[::-1]}", other, "ü.ß", "\x00"):
        await refused(browser, database, with_query(back, state=forged))
    without = urlsplit(back)._replace(query="code=ac_x").geturl()
    await refused(browser, database, without)


async def test_a_state_that_was_signed_for_another_purpose_is_refused(browser: Browser, database: Database) -> None:
    consent = await browser.begin()
    state = Signer(STATE_SECRET.encode(), "other").sign({"nonce": "n", "browser": "b"}, 2**40)
    await refused(browser, database, f"{browser.auth.url}/auth/stripe/callback?code=ac_1&state={state}")
    assert consent


async def test_a_state_expires_by_its_signature(auth: Auth, browser: Browser, database: Database) -> None:
    """Signed ten minutes and a second ago, with its row still there."""
    trip = StateIssuer(STATE_SECRET.encode(), 600).begin(int(time.time()) - 601)
    async with database.transaction() as db:
        await db.execute(
            "INSERT INTO oauth_states (nonce_hash, expires_at) VALUES ($1, clock_timestamp() + interval '1 hour')",
            trip.nonce_hash,
        )
    url = f"{auth.url}/auth/stripe/callback?code=ac_1&state={trip.state}"
    answer = await browser.get(url, Cookie=f"{trip.cookie}={trip.browser}")
    assert (answer.status, answer.problem) == (400, "state-refused")
    assert await count(database, "oauth_states") == 1, "it was refused before the database was asked"


async def test_a_state_expires_by_its_row(browser: Browser, database: Database, account: AccountId) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    async with database.transaction() as db:
        await db.execute("UPDATE oauth_states SET expires_at = clock_timestamp() - interval '1 second'")
    await refused(browser, database, back)


async def test_a_state_survives_a_journey_of_the_business_clock(
    browser: Browser, database: Database, account: AccountId
) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    async with database.transaction() as db:
        await travel_to(db, datetime(2031, 1, 1, tzinfo=UTC))
    assert (await browser.get(back)).status == 200
    assert (await merchant_of(database, account))["connected_at"].year == 2031


async def test_another_process_can_take_the_callback(
    auth: Auth, browser: Browser, database: Database, account: AccountId, open_database: OpenDatabase
) -> None:
    """Nothing of a round trip is kept in memory: a second service with the same settings takes over."""
    back = await browser.agree(await browser.begin(), sim_account=account)
    async with (
        open_database(Role.AUTH) as opened,
        StripeClientFactory.open(auth.settings) as clients,
        TestServer(create_app(auth.settings, opened, clients)) as second,
    ):
        there = urlsplit(back)._replace(netloc=f"127.0.0.1:{second.port}").geturl()
        assert (await browser.get(there)).status == 200
    assert await count(database, "merchants") == 1


# -- Stripe says no ------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [PAGE, "application/json"])
async def test_a_merchant_that_declines_is_told_so_and_the_state_is_used_up(
    browser: Browser, database: Database, account: AccountId, accept: str
) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account, sim_deny="1")
    answer = await browser.get(back, accept=accept)
    assert answer.status == 403
    assert "did not agree" in answer.text
    assert await count(database, "merchants") == 0
    assert await count(database, "oauth_states") == 0


@pytest.mark.parametrize("error", ["invalid_scope", "<script>alert(1)</script>", "a\r\nSet-Cookie: x=y"])
async def test_another_error_is_the_platforms_and_is_not_repeated_to_the_browser(
    browser: Browser, database: Database, error: str
) -> None:
    state = parse_qs(urlsplit(await browser.begin()).query)["state"][0]
    url = with_query(f"{browser.auth.url}/auth/stripe/callback?x=y", state=state, error=error, error_description=error)
    answer = await browser.get(url, accept=PAGE)
    assert answer.status == 502
    assert error not in answer.text
    assert "Set-Cookie" not in answer.headers
    assert await count(database, "merchants") == 0


@pytest.mark.parametrize("code", ["ac_never_given", "", "x" * 300, "a b", "ac_1&code=2"])
async def test_a_code_that_stripe_did_not_give_connects_nobody(browser: Browser, database: Database, code: str) -> None:
    state = parse_qs(urlsplit(await browser.begin()).query)["state"][0]
    url = with_query(f"{browser.auth.url}/auth/stripe/callback?x=y", state=state, code=code)
    await refused(browser, database, url, "code-refused")


async def test_a_code_works_once(browser: Browser, database: Database, account: AccountId) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    assert (await browser.get(back)).status == 200
    before = await merchant_of(database, account)
    fresh_state = parse_qs(urlsplit(await browser.begin()).query)["state"][0]
    answer = await browser.get(with_query(back, state=fresh_state))
    assert (answer.status, answer.problem) == (400, "code-refused")
    assert await merchant_of(database, account) == before


FAULTS = [
    {"kind": "server_error"},
    {"kind": "timeout", "seconds": 3},
    {"kind": "timeout", "seconds": 3, "after_effect": True},
    {"kind": "drop"},
    {"kind": "drop", "after_effect": True},
    {"kind": "truncate"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values())))
async def test_when_stripe_is_away_nobody_is_connected_and_beginning_again_works(
    browser: Browser, database: Database, control: SimulatorClient, account: AccountId, fault: dict[str, Any]
) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    await control.add_fault(path="/oauth/token", **fault)
    answer = await browser.get(back)
    assert (answer.status, answer.problem) == (503, "stripe-away")
    assert "Begin again" in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert await count(database, "merchants") == 0
    await control.clear_faults()
    assert (await browser.connect(account)).status == 200


@pytest.mark.parametrize("changed_settings", [{"stripe_secret_key": "sk_test_wrong"}])
async def test_a_wrong_secret_key_is_the_platforms_fault_and_says_so(
    browser: Browser, database: Database, account: AccountId, changed_settings: dict[str, Any]
) -> None:
    assert changed_settings
    answer = await browser.connect(account)
    assert (answer.status, answer.problem) == (502, "stripe-refused")
    assert "sk_test" not in answer.text
    assert await count(database, "merchants") == 0


async def test_no_connection_is_held_while_stripe_is_asked(
    browser: Browser, database: Database, control: SimulatorClient, account: AccountId
) -> None:
    """Stripe never answers here, so after the state is used there is nothing more to do in the database."""
    back = await browser.agree(await browser.begin(), sim_account=account)
    await control.add_fault("timeout", path="/oauth/token", seconds=3)
    calling = asyncio.create_task(browser.get(back))
    while await count(database, "oauth_states"):
        assert not calling.done()
    samples = []
    while not calling.done():
        async with database.transaction() as db:
            in_transaction = await db.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
            )
        samples.append(in_transaction)
    assert (await calling).status == 503
    assert len(samples) > 3
    assert set(samples) == {0}


# -- our own side --------------------------------------------------------------------------------


async def test_connections_that_break_while_stripe_is_asked_cost_the_merchant_nothing(
    browser: Browser, database: Database, stripe: Simulated, account: AccountId
) -> None:
    back = await browser.agree(await browser.begin(), sim_account=account)
    with stripe.door.holding("POST", "/oauth/token") as exchange:
        calling = asyncio.create_task(browser.get(back))
        await exchange.has_arrived()
        assert await count(database, "oauth_states") == 0
        async with database.transaction() as db:
            killed = await db.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    assert killed > 0
    assert (await calling).status == 200
    assert (await merchant_of(database, account))["status"] == "active"


@pytest.mark.parametrize("accept", [PAGE, "application/json"])
@pytest.mark.parametrize("path", ["/auth/stripe", "/auth/stripe/callback"])
async def test_when_the_database_is_away_the_browser_is_told_to_try_again(
    stripe_url: str, path: str, accept: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"postgresql://u:p@127.0.0.1:{probe.getsockname()[1]}/none"
    settings = auth_settings(nowhere, stripe_url, public_url="http://127.0.0.1")
    trip = StateIssuer(STATE_SECRET.encode(), 600).begin(int(time.time()))
    async with (
        Database.open(nowhere, Role.AUTH) as away,
        StripeClientFactory.open(settings) as clients,
        TestServer(create_app(settings, away, clients)) as server,
        aiohttp.ClientSession(
            cookies={trip.cookie: trip.browser}, cookie_jar=aiohttp.CookieJar(unsafe=True)
        ) as session,
        session.get(
            server.make_url(path).with_query(state=trip.state, code="ac_1"),
            headers={"Accept": accept},
            allow_redirects=False,
        ) as answer,
    ):
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "2"
        assert answer.content_type == ("text/html" if accept == PAGE else "application/problem+json")
