"""The versions of policies in the database, and the recoveries that are pinned to them.

A version is written once and never changed, but another one can be put in force. Open recoveries stay on their version
until they are moved: `moves_to` says what a move would change, and `move` makes exactly those changes or none.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared import recoveries
from shared.database import Connection
from shared.ids import InvoiceId, MerchantId, RecoveryId
from shared.money import Money
from shared.policy.causes import DeclineCause
from shared.policy.document import Policy
from shared.policy.segments import Budget, SegmentFacts, budget_of, segment_of
from shared.recovery_model import Entry, EntryKind

# One writer of a merchant's versions at a time, because the next number and the active version are read, then written.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('policies/' || COALESCE($1, ''), 0))"

CREATE = """
INSERT INTO policies (merchant_id, version, document, note)
SELECT $1, COALESCE(max(version), 0) + 1, $2, $3
FROM policies
WHERE merchant_id IS NOT DISTINCT FROM $1
RETURNING id
"""

_VERSION = """
SELECT p.id, p.merchant_id, p.version, p.active, p.note, p.created_at, p.activated_at, p.document
FROM policies AS p
"""

FIND = _VERSION + "WHERE p.id = $1"
FIND_ACTIVE = _VERSION + "WHERE p.merchant_id IS NOT DISTINCT FROM $1 AND p.active"
# The version that was in force before the present one, by when each was activated last.
FIND_BEFORE = (
    _VERSION
    + """
WHERE p.merchant_id IS NOT DISTINCT FROM $1 AND NOT p.active AND p.activated_at IS NOT NULL
ORDER BY p.activated_at DESC
LIMIT 1
"""
)
LIST_OWN = _VERSION + "WHERE p.merchant_id IS NOT DISTINCT FROM $1 ORDER BY p.version DESC LIMIT $2"

DEACTIVATE = "UPDATE policies SET active = false WHERE merchant_id IS NOT DISTINCT FROM $1 AND active"
ACTIVATE = "UPDATE policies SET active = true, activated_at = clock_timestamp() WHERE id = $1"

# Everything that a move needs, in one statement: a merchant's recoveries, or for a version of the platform's those on
# the platform's other versions.
READ_MOVES = """
SELECT r.id, r.invoice_id, r.state, r.opened_at, r.next_attempt_at, p.id AS policy_id, p.version, p.document,
    r.amount_due, r.currency, r.decline_cause, r.segment_facts,
    (SELECT count(*) FROM attempts AS a
     WHERE a.recovery_id = r.id AND a.origin = 'citadel' AND a.result <> 'abandoned') AS used,
    citadel_now() AS now
FROM recoveries AS r
JOIN policies AS p ON p.id = r.policy_id
WHERE r.closed_at IS NULL
    AND p.id <> $1
    AND (r.merchant_id = $2 OR ($2 IS NULL AND p.merchant_id IS NULL))
ORDER BY r.id
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a merchant's policy, or of the platform's (`merchant_id=None`)."""

    id: UUID
    merchant_id: MerchantId | None
    version: int
    active: bool
    note: str | None
    created_at: datetime
    activated_at: datetime | None
    policy: Policy


@dataclass(frozen=True, slots=True)
class Move:
    """What a move changes for one recovery. `ends_at_once`: under the new rules its window or attempts are used up."""

    recovery_id: RecoveryId
    invoice_id: InvoiceId
    state: str
    from_policy: UUID
    from_version: int
    window_ends_before: datetime
    window_ends_after: datetime
    attempts_left_before: int
    attempts_left_after: int
    ends_at_once: bool


class Changed(Exception):
    """The move would no longer change what `moves_to` said: ask again."""


async def create(db: Connection, merchant_id: MerchantId | None, policy: Policy, note: str | None = None) -> Version:
    """Write the next version, not yet in force."""
    await db.execute(LOCK, merchant_id)
    made = await db.fetchval(CREATE, merchant_id, policy.model_dump(mode="json"), note)
    return await find(db, made)


async def find(db: Connection, policy_id: UUID) -> Version:
    """One version. Raises LookupError."""
    row = await db.fetchrow(FIND, policy_id)
    if row is None:
        raise LookupError(f"no policy {policy_id}")
    return _version(row)


async def in_force(db: Connection, merchant_id: MerchantId | None) -> Version | None:
    """The merchant's own version that is in force; None when the platform's is."""
    row = await db.fetchrow(FIND_ACTIVE, merchant_id)
    return None if row is None else _version(row)


async def versions(db: Connection, merchant_id: MerchantId | None, limit: int = 100) -> list[Version]:
    """A merchant's own versions, newest first."""
    return [_version(row) for row in await db.fetch(LIST_OWN, merchant_id, limit)]


async def activate(db: Connection, version: Version) -> Version:
    """Put a version in force for recoveries that open from now on. Repeating it changes nothing."""
    await db.execute(LOCK, version.merchant_id)
    current = await in_force(db, version.merchant_id)
    if current is not None and current.id == version.id:
        return current
    await db.execute(DEACTIVATE, version.merchant_id)
    await db.execute(ACTIVATE, version.id)
    return await find(db, version.id)


async def roll_back(db: Connection, merchant_id: MerchantId | None) -> Version:
    """Put the previous version in force again. Raises LookupError when there was none."""
    await db.execute(LOCK, merchant_id)
    row = await db.fetchrow(FIND_BEFORE, merchant_id)
    if row is None:
        raise LookupError("no version was in force before")
    return await activate(db, _version(row))


async def moves_to(db: Connection, version: Version) -> list[Move]:
    """What would change if the open recoveries of other versions were moved to this one.

    For a merchant's version: all of the merchant's. For the platform's: all on another version of the platform's.
    """
    return [_move(row, version.policy) for row in await db.fetch(READ_MOVES, version.id, version.merchant_id)]


def token_of(version: Version, moves: list[Move]) -> str:
    """A token for exactly these moves: with it `move` makes them, or none."""
    told = [str(version.id), *(f"{each.recovery_id}/{each.from_policy}/{each.ends_at_once}" for each in moves)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


async def move(db: Connection, version: Version, token: str) -> list[Move]:
    """Make the moves that the token is for, and have each recovery evaluated under its new rules. Raises Changed."""
    moves = await moves_to(db, version)
    if token_of(version, moves) != token:
        raise Changed("the recoveries in flight are not the ones that were shown")
    for each in moves:
        detail = {"from_version": each.from_version, "to_version": version.version}
        text = f"Moved from version {each.from_version} of the policy to version {version.version}."
        await recoveries.move(db, each.recovery_id, version.id, Entry(EntryKind.CHANGED, "policy_moved", text, detail))
    return moves


def _version(row: Any) -> Version:
    return Version(
        id=row["id"],
        merchant_id=row["merchant_id"],
        version=row["version"],
        active=row["active"],
        note=row["note"],
        created_at=row["created_at"],
        activated_at=row["activated_at"],
        policy=Policy.model_validate(row["document"]),
    )


def _move(row: Any, after: Policy) -> Move:
    before = _budget(row, Policy.model_validate(row["document"]))
    then = _budget(row, after)
    return Move(
        recovery_id=row["id"],
        invoice_id=row["invoice_id"],
        state=row["state"],
        from_policy=row["policy_id"],
        from_version=row["version"],
        window_ends_before=before.ends_at,
        window_ends_after=then.ends_at,
        attempts_left_before=before.attempts_left,
        attempts_left_after=then.attempts_left,
        ends_at_once=then.over(row["now"]),
    )


def _budget(row: Any, policy: Policy) -> Budget:
    """What a policy leaves of a recovery, in the segment that the brain would find by what was read last."""
    known = row["segment_facts"] or {}
    since = known.get("subscribed_at")
    facts = SegmentFacts(
        amount=Money(known.get("amount", row["amount_due"]), row["currency"]),
        cause=DeclineCause(row["decline_cause"] or DeclineCause.UNKNOWN),
        country=known.get("country"),
        products=frozenset(known.get("products", ())),
        prices=frozenset(known.get("prices", ())),
        subscribed_at=datetime.fromisoformat(since) if since else None,
    )
    return budget_of(policy.segment(segment_of(policy, facts, row["now"])), row["opened_at"], row["used"])
