"""Creates, lists and revokes API keys, for `citadel keys`. `shared.api_keys` checks them.

KeyRefused   an invalid name, scope, merchant or expiry; the message says which and why
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from services.auth import store
from services.auth.store import KeyRow
from shared.api_keys import Scope, hash_secret, new_secret
from shared.database import Database
from shared.ids import MerchantId

__all__ = ["KeyRefused", "KeyRow", "create_key", "list_keys", "revoke_key"]

_LONGEST_NAME = 100


class KeyRefused(ValueError):
    """The key cannot be made as asked for; nothing was stored."""


async def create_key(
    database: Database,
    name: str,
    scopes: Iterable[str],
    merchant_id: str | None = None,
    expires_at: datetime | None = None,
) -> tuple[UUID, str]:
    """Make a key: its id, and its secret, which cannot be shown again.

    `scopes` are values of `shared.api_keys.Scope`; `merchant_id=None` makes a key of the platform, which sees every
    merchant; `expires_at` is aware and in the future. Raises KeyRefused, DatabaseAway.
    """
    wanted = _scopes(scopes)
    if not 0 < len(name.strip()) <= _LONGEST_NAME or not name.isprintable():
        raise KeyRefused(f"a key's name has 1 to {_LONGEST_NAME} printable characters")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= datetime.now(UTC)):
        raise KeyRefused("a key expires in the future, at a time with a time zone")
    secret = new_secret()
    async with database.transaction() as db:
        key_id = await store.create_key(
            db, name.strip(), _merchant(merchant_id), hash_secret(secret), wanted, expires_at
        )
    if key_id is None:
        raise KeyRefused(f"there is no merchant {merchant_id}")
    return key_id, secret


async def list_keys(database: Database) -> list[KeyRow]:
    """Every key, oldest first, including revoked and expired ones. Raises DatabaseAway."""
    async with database.transaction() as db:
        return await store.list_keys(db)


async def revoke_key(database: Database, key_id: UUID) -> bool:
    """Revoke a key at once. False: there is no such key, or it was revoked before. Raises DatabaseAway."""
    async with database.transaction() as db:
        return await store.revoke_key(db, key_id)


def _scopes(scopes: Iterable[str]) -> list[str]:
    given = sorted(set(scopes))
    unknown = [scope for scope in given if scope not in set(Scope)]
    if unknown or not given:
        what = f"unknown scope(s) {', '.join(unknown)}" if unknown else "a key has at least one scope"
        raise KeyRefused(f"{what}; there are {', '.join(Scope)}")
    return [Scope(scope).value for scope in given]


def _merchant(merchant_id: str | None) -> MerchantId | None:
    """The merchant's id in the spelling of the tables: a key with another spelling would see nothing."""
    if merchant_id is None:
        return None
    try:
        return MerchantId(str(UUID(merchant_id)))
    except ValueError:
        raise KeyRefused(f"a merchant's id is a uuid, not {merchant_id!r}") from None
