"""Auth's own SQL; that of the queue and of recoveries is in `shared`.

Locks are taken in the order that every service keeps: the merchant, its recoveries, then what belongs to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.database import Connection
from shared.ids import AccountId, MerchantId, RecoveryId


@dataclass(frozen=True, slots=True)
class MerchantRow:
    """A merchant, locked until the end of the transaction."""

    id: MerchantId
    stripe_connect_id: AccountId
    status: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a merchant granted, its tokens already encrypted. `connected_at` is when the exchange began."""

    stripe_connect_id: AccountId
    access_token: str | None
    refresh_token: str | None
    scope: str
    livemode: bool
    connected_at: datetime


@dataclass(frozen=True, slots=True)
class Tokens:
    """A merchant's tokens as they are stored."""

    merchant_id: UUID
    stripe_connect_id: AccountId
    access_token: str | None
    refresh_token: str | None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key without its secret, of which only a hash is stored."""

    id: UUID
    name: str
    merchant_id: MerchantId | None
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


KEEP_STATE = """
INSERT INTO oauth_states (nonce_hash, expires_at)
VALUES ($1, clock_timestamp() + make_interval(secs => $2))
"""

# Of any number of callbacks with one state, one finds the row. It also reads the business time, for SAVE_GRANT.
USE_STATE = """
DELETE FROM oauth_states
WHERE nonce_hash = $1 AND expires_at > clock_timestamp()
RETURNING citadel_now()
"""

# connected_at is the time before the exchange: if the merchant disconnects while this commits, it must not look as if
# it had ended an older connection.
SAVE_GRANT = """
INSERT INTO merchants AS m
    (stripe_connect_id, stripe_user_id, access_token, refresh_token, oauth_scope, livemode, status, connected_at)
VALUES ($1, $1, $2, $3, $4, $5, 'active', $6)
ON CONFLICT (stripe_connect_id) DO UPDATE
SET stripe_user_id = excluded.stripe_user_id,
    access_token = excluded.access_token,
    refresh_token = excluded.refresh_token,
    oauth_scope = excluded.oauth_scope,
    livemode = excluded.livemode,
    status = 'active',
    connected_at = excluded.connected_at,
    disconnected_at = NULL
RETURNING m.id::text AS id, m.xmax = 0 AS is_new
"""

# From now on webhooks bring the events; invoices that failed before are among the open invoices.
CATCH_UP_FROM_NOW = """
INSERT INTO catch_ups (merchant_id, events_until)
VALUES ($1, citadel_now())
ON CONFLICT (merchant_id) DO UPDATE
SET next_at = citadel_now(), invoices_at = NULL, invoices_from = NULL, invoices_after = NULL
"""

LOCK_MERCHANT = """
SELECT id::text AS id, stripe_connect_id, status
FROM merchants
WHERE id = $1
FOR UPDATE
"""

DISCONNECT = """
UPDATE merchants
SET status = 'disconnected', access_token = NULL, refresh_token = NULL, disconnected_at = citadel_now()
WHERE id = $1::text::uuid
RETURNING status
"""

LOCK_OPEN_RECOVERIES = """
SELECT id, currency
FROM recoveries
WHERE merchant_id = $1 AND closed_at IS NULL
ORDER BY id
FOR UPDATE
"""

LOCK_TOKENS = """
SELECT id, stripe_connect_id, access_token, refresh_token
FROM merchants
WHERE id > $1 AND (access_token IS NOT NULL OR refresh_token IS NOT NULL)
ORDER BY id
LIMIT $2
FOR UPDATE
"""

SAVE_TOKENS = """
UPDATE merchants
SET access_token = $2, refresh_token = $3
WHERE id = $1
"""

# No row when the merchant does not exist.
CREATE_KEY = """
INSERT INTO api_keys (name, merchant_id, key_hash, scopes, expires_at)
SELECT $1, $2, $3, $4, $5
WHERE $2::text IS NULL OR EXISTS (SELECT FROM merchants WHERE id = $2::text::uuid)
RETURNING id
"""

LIST_KEYS = """
SELECT id, name, merchant_id, scopes, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
ORDER BY created_at, id
"""

REVOKE_KEY = """
UPDATE api_keys
SET revoked_at = clock_timestamp()
WHERE id = $1 AND revoked_at IS NULL
RETURNING id
"""


async def keep_state(db: Connection, nonce_hash: bytes, ttl_seconds: int) -> None:
    """Store a new round trip, valid for `ttl_seconds` of real time."""
    await db.execute(KEEP_STATE, nonce_hash, ttl_seconds)


async def use_state(db: Connection, nonce_hash: bytes) -> datetime | None:
    """Use the round trip up and return the business time; None when it was used before, or is too old."""
    now: datetime | None = await db.fetchval(USE_STATE, nonce_hash)
    return now


async def save_grant(db: Connection, grant: Grant) -> tuple[MerchantId, bool]:
    """The merchant's id, and whether it is new; one that had connected before keeps its id and is active again."""
    row = await db.fetchrow(
        SAVE_GRANT,
        grant.stripe_connect_id,
        grant.access_token,
        grant.refresh_token,
        grant.scope,
        grant.livemode,
        grant.connected_at,
    )
    if row is None:
        raise RuntimeError("INSERT … ON CONFLICT DO UPDATE … RETURNING gave no row")
    return row["id"], row["is_new"]


async def catch_up_from_now(db: Connection, merchant_id: MerchantId) -> None:
    """Have the merchant's open invoices listed at once; an existing row keeps its place in the list of events."""
    await db.execute(CATCH_UP_FROM_NOW, merchant_id)


async def lock_merchant(db: Connection, merchant_id: UUID) -> MerchantRow | None:
    """The merchant, locked; None when there is none."""
    row = await db.fetchrow(LOCK_MERCHANT, merchant_id)
    return None if row is None else MerchantRow(row["id"], row["stripe_connect_id"], row["status"])


async def disconnect(db: Connection, merchant_id: MerchantId) -> str:
    """Mark the merchant as disconnected and wipe its tokens; returns its new status."""
    status: str = await db.fetchval(DISCONNECT, merchant_id)
    return status


async def lock_open_recoveries(db: Connection, merchant_id: MerchantId) -> list[RecoveryId]:
    """The merchant's open recoveries, locked by id, in the order in which their ends are booked.

    Booking locks the totals by currency: always in the same order, or two services would deadlock.
    """
    rows = await db.fetch(LOCK_OPEN_RECOVERIES, merchant_id)
    return [row["id"] for row in sorted(rows, key=lambda row: (row["currency"], row["id"]))]


async def lock_tokens(db: Connection, after: UUID, limit: int) -> list[Tokens]:
    """The next merchants by id that have tokens, locked."""
    rows = await db.fetch(LOCK_TOKENS, after, limit)
    return [Tokens(row["id"], row["stripe_connect_id"], row["access_token"], row["refresh_token"]) for row in rows]


async def save_tokens(db: Connection, tokens: Tokens) -> None:
    """Replace a merchant's tokens."""
    await db.execute(SAVE_TOKENS, tokens.merchant_id, tokens.access_token, tokens.refresh_token)


async def create_key(
    db: Connection,
    name: str,
    merchant_id: MerchantId | None,
    key_hash: bytes,
    scopes: Sequence[str],
    expires_at: datetime | None,
) -> UUID | None:
    """Store a key's hash; its id, or None when the merchant does not exist."""
    key_id: UUID | None = await db.fetchval(CREATE_KEY, name, merchant_id, key_hash, list(scopes), expires_at)
    return key_id


async def list_keys(db: Connection) -> list[KeyRow]:
    """Every key, oldest first, revoked and expired ones too."""
    return [KeyRow(**{**dict(row), "scopes": tuple(row["scopes"])}) for row in await db.fetch(LIST_KEYS)]


async def revoke_key(db: Connection, key_id: UUID) -> bool:
    """False: there is no such key, or it was revoked before."""
    return await db.fetchval(REVOKE_KEY, key_id) is not None
