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

from shared.database import Connection
from shared.http import Problem

PREFIX = "ctdl_"


class Scope(StrEnum):
    """What a key may do."""

    STATS_READ = "stats:read"
    RECOVERIES_READ = "recoveries:read"
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
    merchant_id: str | None
    scopes: frozenset[str]

    def may_see(self, merchant_id: str) -> bool:
        """Whether the key's owner may see this merchant's rows."""
        return self.merchant_id is None or self.merchant_id == merchant_id


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
