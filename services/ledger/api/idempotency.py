"""Idempotency-Key: a write that is repeated under the same key takes effect once and answers the same.

After draft-ietf-httpapi-idempotency-key-header: a missing key where one is required is a 400, the same key with
another request a 422. The answer is kept in the transaction of the write, so either both are there or neither is; a
write that was refused keeps nothing and may be repeated. Calls with the same key wait for each other on a lock of
that key. The janitor prunes the answers; a key is good for at least 24 hours.
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


# Held until the transaction ends. Two keys that hash alike wait for each other, and nothing worse.
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
    """One request under an Idempotency-Key; keys of two API keys never meet."""

    api_key_id: UUID
    key: str
    request_hash: bytes


def fingerprint(method: str, path: str, body: Any) -> bytes:
    """What makes two requests the same: method, path, and the body as JSON (order and spaces do not matter)."""
    text = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), text))).digest()


async def replay(db: Connection, keyed: Keyed) -> dict[str, Any] | None:
    """The body that was answered to this key before; None when the write is still to be done.

    From here to the end of the transaction no other call with the same key gets past this point. Raises Problem 422
    when the key came with another request.
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
    """Keep the answer, in the transaction of the write."""
    await db.execute(KEEP_KEY, keyed.api_key_id, keyed.key, keyed.request_hash, status, dict(body))
