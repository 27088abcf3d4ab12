"""API keys: made, listed, revoked; checked as every service checks them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from aiohttp.test_utils import make_mocked_request

from services.auth import keys
from services.auth.keys import KeyRefused
from shared.api_keys import ApiKey, Scope, authenticate, hash_secret, sees
from shared.database import Database, Role
from shared.http import Problem
from shared.ids import MerchantId
from tests.conftest import OpenDatabase
from tests.integration.auth.conftest import count
from tests.world import World


async def sign_in(database: Database, secret: str, scope: Scope = Scope.STATS_READ) -> ApiKey:
    """As a service does it, with the key in a request's header."""
    request = make_mocked_request("GET", "/", {"Authorization": f"Bearer {secret}"})
    async with database.transaction() as db:
        return await authenticate(db, request, scope)


async def refusal(database: Database, secret: str) -> int:
    with pytest.raises(Problem) as refused:
        await sign_in(database, secret)
    return refused.value.status


@pytest.mark.parametrize("role", [Role.AUTH, Role.LEDGER])
async def test_a_new_key_signs_in_with_its_scopes(open_database: OpenDatabase, database: Database, role: Role) -> None:
    key_id, secret = await keys.create_key(database, "dashboard", ["stats:read", "tasks:read", "stats:read"])
    async with open_database(role) as opened:
        key = await sign_in(opened, secret)
    assert key == ApiKey(key_id, None, frozenset({"stats:read", "tasks:read"}))
    assert sees(key, MerchantId("anyone"))


async def test_auth_needs_no_more_than_its_own_role(open_database: OpenDatabase, database: Database) -> None:
    merchant_id = await World(database).connect()
    async with open_database(Role.AUTH) as opened:
        key_id, _ = await keys.create_key(opened, "own", [Scope.STATS_READ], merchant_id)
        (listed,) = await keys.list_keys(opened)
        assert listed.id == key_id
        assert await keys.revoke_key(opened, key_id)


async def test_a_merchants_key_sees_that_merchant_alone(database: Database) -> None:
    merchant_id = await World(database).connect()
    _, secret = await keys.create_key(database, "own", [Scope.STATS_READ], merchant_id.upper())
    key = await sign_in(database, secret)
    assert key.merchant_id == merchant_id, "in the spelling that every table uses"
    assert sees(key, merchant_id)
    assert not sees(key, uuid4())


async def test_only_the_hash_of_a_key_is_stored(database: Database) -> None:
    _, secret = await keys.create_key(database, "k", [Scope.STATS_READ])
    async with database.transaction() as db:
        row = await db.fetchrow("SELECT * FROM api_keys")
    assert row is not None
    assert row["key_hash"] == hash_secret(secret)
    assert secret not in str(dict(row))
    assert len(secret) == len("ctdl_") + 43


async def test_a_revoked_key_is_refused_at_once_and_stays_in_the_list(database: Database) -> None:
    key_id, secret = await keys.create_key(database, "k", [Scope.STATS_READ])
    assert await keys.revoke_key(database, key_id)
    assert await refusal(database, secret) == 401
    assert not await keys.revoke_key(database, key_id), "a second time changes nothing"
    assert not await keys.revoke_key(database, uuid4())
    (listed,) = await keys.list_keys(database)
    assert listed.revoked_at is not None


async def test_a_key_ends_when_it_expires(database: Database) -> None:
    _, secret = await keys.create_key(
        database, "k", [Scope.STATS_READ], expires_at=datetime.now(UTC) + timedelta(hours=1)
    )
    assert (await sign_in(database, secret)).scopes == {"stats:read"}
    async with database.transaction() as db:
        await db.execute("UPDATE api_keys SET expires_at = clock_timestamp()")
    assert await refusal(database, secret) == 401


async def test_the_list_has_everything_but_the_secret(database: Database) -> None:
    merchant_id = await World(database).connect()
    _, secret = await keys.create_key(database, " first ", [Scope.TASKS_READ, Scope.STATS_READ], merchant_id)
    await keys.create_key(database, "second", [Scope.USAGE_WRITE])
    await sign_in(database, secret)
    first, second = await keys.list_keys(database)
    assert (first.name, first.merchant_id, first.scopes) == ("first", merchant_id, ("stats:read", "tasks:read"))
    assert (second.name, second.merchant_id, second.last_used_at) == ("second", None, None)
    assert first.last_used_at is not None


async def test_using_a_key_is_not_a_write_each_time(database: Database) -> None:
    _, secret = await keys.create_key(database, "k", [Scope.STATS_READ])
    await sign_in(database, secret)
    (before,) = await keys.list_keys(database)
    await sign_in(database, secret)
    assert await keys.list_keys(database) == [before]


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"scopes": []}, "at least one scope"),
    ({"scopes": ["stats:read", "everything"]}, "unknown scope.* everything; there are stats:read, "),
    ({"name": "  "}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"merchant_id": "acct_1"}, "uuid"),
    ({"merchant_id": "6f2c1a34-0000-4000-8000-000000000000"}, "there is no merchant 6f2c"),
    ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "future"),
    ({"expires_at": datetime(2999, 1, 1)}, "time zone"),  # noqa: DTZ001 - a naive time is what is refused
]


@pytest.mark.parametrize(("changes", "why"), REFUSED)
async def test_what_makes_no_key_is_refused_with_the_reason(
    database: Database, changes: dict[str, object], why: str
) -> None:
    asked: dict[str, object] = {"name": "k", "scopes": [Scope.STATS_READ], **changes}
    with pytest.raises(KeyRefused, match=why):
        await keys.create_key(database, **asked)  # type: ignore[arg-type]  # the table holds any argument
    assert await count(database, "api_keys") == 0
