"""API keys: who calls the API, and what the caller may do.

A key is `ctdl_` and 43 characters of 256 random bits; the database holds its SHA-256 only. A key belongs to one
merchant or, without one, to the platform. Keys are made by `citadel keys`.
"""

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from aiohttp import web
from prometheus_client import Counter

from shared.database import Connection
from shared.http import Problem
from shared.ids import MerchantId
from shared.logging import get_logger

log = get_logger(__name__)

PREFIX = "ctdl_"
_REFUSED = Counter("citadel_cross_tenant_refused_total", "Calls that named a merchant of another tenant")


class Scope(StrEnum):
    """What a key may do."""

    STATS_READ = "stats:read"
    RECOVERIES_READ = "recoveries:read"
    RECOVERIES_WRITE = "recoveries:write"
    TASKS_READ = "tasks:read"
    TASKS_WRITE = "tasks:write"
    MERCHANTS_READ = "merchants:read"
    MERCHANTS_WRITE = "merchants:write"
    USAGE_WRITE = "usage:write"
    MESSAGES_READ = "messages:read"
    MESSAGES_WRITE = "messages:write"
    POLICIES_READ = "policies:read"
    POLICIES_WRITE = "policies:write"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A valid key. `merchant_id=None`: a key of the platform, which may see every merchant."""

    id: UUID
    merchant_id: MerchantId | None
    scopes: frozenset[str]


FIND = """
SELECT id, merchant_id, scopes
FROM api_keys
WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
"""

# At most once a minute, so that not every request that reads also writes.
TOUCH = """
UPDATE api_keys
SET last_used_at = clock_timestamp()
WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')
"""


def new_secret() -> str:
    """A new key, as its owner sees it once."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> bytes:
    """What the database keeps of a key."""
    return hashlib.sha256(secret.encode()).digest()


def sees(key: ApiKey, merchant_id: UUID | MerchantId) -> bool:
    """Whether rows of this merchant exist for the key's owner. Who names another tenant's is logged and counted."""
    if key.merchant_id is None or key.merchant_id == str(merchant_id):
        return True
    _REFUSED.inc()
    asked = str(merchant_id)
    log.warning("cross_tenant_refused", key_id=str(key.id), key_merchant_id=key.merchant_id, asked=asked)
    return False


async def authenticate(db: Connection, request: web.Request, scope: Scope) -> ApiKey:
    """The caller's key, from `Authorization: Bearer ctdl_…`.

    Raises Problem 401 when there is none that is valid, 403 when it lacks the scope.
    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    row = None
    # A header may hold any bytes; a key is ASCII.
    if scheme.lower() == "bearer" and secret.startswith(PREFIX) and secret.isascii():
        row = await db.fetchrow(FIND, hash_secret(secret.strip()))
    if row is None:
        raise Problem(
            401,
            "unauthenticated",
            "Expected `Authorization: Bearer ctdl_…` with a key that is valid. Make one with `citadel keys create`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    key = ApiKey(row["id"], row["merchant_id"], frozenset(row["scopes"]))
    if scope not in key.scopes:
        raise Problem(403, "missing-scope", f"This key lacks the scope {scope}.")
    await db.execute(TOUCH, key.id)
    return key
