"""The keys that tokens are encrypted under are rotated while the service runs."""

import pytest

from services.auth.tokens import RotationIncomplete, reencrypt_tokens, seal, unseal
from shared.crypto import KeyRing, UnknownKey
from shared.database import Database, Role
from shared.ids import AccountId
from tests.conftest import OpenDatabase

OLD, NEW = f"old:{KeyRing.generate()}", f"new:{KeyRing.generate()}"
OLD_RING, BOTH, NEW_FIRST, NEW_RING = (KeyRing.parse(text) for text in (OLD, f"{OLD},{NEW}", f"{NEW},{OLD}", NEW))
COLUMNS = ("access_token", "refresh_token")


async def add_merchant(database: Database, account: str, ring: KeyRing, *, refresh: bool = True) -> None:
    tokens = [seal(ring, f"{column} of {account}", AccountId(account), column) for column in COLUMNS]
    if not refresh:
        tokens[1] = None
    async with database.transaction() as db:
        await db.execute(
            "INSERT INTO merchants (stripe_connect_id, access_token, refresh_token) VALUES ($1, $2, $3)",
            account,
            *tokens,
        )


async def read_all(database: Database, ring: KeyRing) -> dict[str, list[str | None]]:
    async with database.transaction() as db:
        rows = await db.fetch("SELECT * FROM merchants ORDER BY stripe_connect_id")
    accounts = [row["stripe_connect_id"] for row in rows]
    return {
        account: [unseal(ring, row[column], account, column) for column in COLUMNS]
        for account, row in zip(accounts, rows, strict=True)
    }


async def test_a_rotation_leaves_every_token_readable_at_every_step(
    open_database: OpenDatabase, database: Database
) -> None:
    accounts = [f"acct_{number}" for number in range(250)]  # more than two batches
    for account in accounts:
        await add_merchant(database, account, OLD_RING)
    plain = {account: [f"{column} of {account}" for column in COLUMNS] for account in sorted(accounts)}

    # First every process learns to read the new key, then every process writes with it, then the old rows follow.
    assert await read_all(database, BOTH) == plain
    await add_merchant(database, "acct_z", NEW_FIRST)
    plain["acct_z"] = [f"{column} of acct_z" for column in COLUMNS]
    assert await read_all(database, BOTH) == plain, "a process that still writes with the old key reads the new one"
    async with open_database(Role.AUTH) as opened:
        assert await reencrypt_tokens(opened, NEW_FIRST) == 500
        assert await reencrypt_tokens(opened, NEW_FIRST) == 0
    assert await read_all(database, BOTH) == plain
    assert await read_all(database, NEW_RING) == plain, "the old key can go"
    with pytest.raises(UnknownKey):
        await read_all(database, OLD_RING)


async def test_a_merchant_without_tokens_is_left_alone(database: Database) -> None:
    await add_merchant(database, "acct_1", OLD_RING, refresh=False)
    async with database.transaction() as db:
        await db.execute("INSERT INTO merchants (stripe_connect_id, status) VALUES ('acct_2', 'disconnected')")
    assert await reencrypt_tokens(database, NEW_FIRST) == 1
    assert await read_all(database, NEW_RING) == {"acct_1": ["access_token of acct_1", None], "acct_2": [None, None]}


async def test_one_damaged_token_does_not_stop_the_others_and_is_told_at_the_end(database: Database) -> None:
    for account in ("acct_1", "acct_2", "acct_3"):
        await add_merchant(database, account, OLD_RING)
    async with database.transaction() as db:
        damaged = await db.fetchval(
            "UPDATE merchants AS m SET access_token = other.access_token FROM merchants AS other "
            "WHERE m.stripe_connect_id = 'acct_2' AND other.stripe_connect_id = 'acct_1' RETURNING m.id::text"
        )
    with pytest.raises(RotationIncomplete, match=damaged) as incomplete:
        await reencrypt_tokens(database, NEW_FIRST)
    assert incomplete.value.merchant_ids == [damaged]
    assert incomplete.value.reencrypted == 4


async def test_a_ring_without_the_old_key_changes_nothing(database: Database) -> None:
    await add_merchant(database, "acct_1", OLD_RING)
    before = await read_all(database, OLD_RING)
    with pytest.raises(RotationIncomplete):
        await reencrypt_tokens(database, NEW_RING)
    assert await read_all(database, OLD_RING) == before
