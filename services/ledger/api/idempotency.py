"""Idempotency-Key: a write that is repeated under the same key takes effect once and gets the same answer.

After draft-ietf-httpapi-idempotency-key-header: a missing key where one is required is a 400, the same key with
another request a 422. The answer is saved in the transaction of the write, so both are committed or neither. A refused
write saves nothing and may be repeated. Calls with the same key wait for each other by a lock on the key. The janitor
prunes the answers; a key is valid for at least 24 hours.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from prometheus_client import Counter

from shared.database import Connection
from shared.http import Problem

_REPLAYS = Counter("citadel_ledger_idempotent_replays_total", "Writes answered from their Idempotency-Key")


# Held until the transaction ends. Two keys with the same hash wait for each other, which does no other harm.
LOCK_KEY = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"

FIND_KEY = """
SELECT request_hash, response_body
FROM idempotency_keys
WHERE api_key_id = $1 AND key = $2
"""

KEEP_KEY = """
INSERT INTO idempotency_keys (api_key_id, key, request_hash, response_status, response_body)
VALUES ($1, $2, $3, $4, $5)
"""


@dataclass(frozen=True, slots=True)
class Keyed:
    """One request under an Idempotency-Key; the same key under two API keys is two keys."""

    api_key_id: UUID
    key: str
    request_hash: bytes


def fingerprint(method: str, path: str, body: Any) -> bytes:
    """Equal for equal requests: method, path, and the body as JSON (order and spaces do not matter)."""
    text = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), text))).digest()


async def replay(db: Connection, keyed: Keyed) -> dict[str, Any] | None:
    """The saved answer's body for this key; None when the write is still to be done.

    Until the end of the transaction, other calls with the same key wait here. Raises Problem 422 when the key was used
    for another request.
    """
    await db.execute(LOCK_KEY, f"{keyed.api_key_id}:{keyed.key}")
    row = await db.fetchrow(FIND_KEY, keyed.api_key_id, keyed.key)
    if row is None:
        return None
    if row["request_hash"] != keyed.request_hash:
        raise Problem(
            422,
            "idempotency-key-reused",
            "This Idempotency-Key was used with another request. Use a new key for a new request.",
        )
    _REPLAYS.inc()
    body: dict[str, Any] = row["response_body"]
    return body


async def keep(db: Connection, keyed: Keyed, status: int, body: Mapping[str, Any]) -> None:
    """Save the answer, in the transaction of the write."""
    await db.execute(KEEP_KEY, keyed.api_key_id, keyed.key, keyed.request_hash, status, dict(body))
