"""The SQL of learning: who is looked at, what recoveries' attempts are learned from, what is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.worker.dossier.attempt_store import ATTEMPTS_OF, MAY_TEACH, tried_of
from services.worker.recovery.belief.differences import Difference
from services.worker.recovery.belief.document import LAYOUT
from services.worker.recovery.belief.learning import REMEMBERED
from services.worker.recovery.outcomes import Tried
from shared.database import Connection
from shared.ids import MerchantId
from shared.pool import POOL

# --- Who is looked at -------------------------------------------------------------------------------------------------

# Those whose last look is longest ago. `fresh`: recoveries that opened since the last learning, counted up to `wanted`.
# What was learned in another layout cannot be read, and counts as not learned.
LOOKS_DUE = f"""
WITH due AS MATERIALIZED (
    SELECT m.id::text AS merchant_id, b.looked_at,
        CASE WHEN b.layout = $1 THEN b.learned_at END AS learned_at,
        CASE WHEN b.layout = $1 THEN b.recoveries ELSE 0 END AS recoveries
    FROM merchants AS m
    LEFT JOIN learned_beliefs AS b ON b.merchant_id = m.id::text
    WHERE m.status = 'active' AND (b.looked_at IS NULL OR b.looked_at <= citadel_now() - $2::interval)
    ORDER BY b.looked_at NULLS FIRST, m.id
    LIMIT $3
), asked AS (
    SELECT *, CASE
        WHEN learned_at <= citadel_now() - $5::interval THEN 1
        ELSE GREATEST($4, COALESCE(recoveries, 0) / 10)
    END AS wanted
    FROM due
)
SELECT merchant_id, (
    SELECT count(*)
    FROM (
        SELECT
        FROM (
            SELECT id, merchant_id
            FROM recoveries
            WHERE merchant_id = asked.merchant_id AND opened_at > COALESCE(learned_at, '-infinity')
            ORDER BY opened_at DESC, id DESC
            LIMIT 2000
        ) AS r
        WHERE {MAY_TEACH}
        LIMIT wanted
    ) AS fresh
) >= wanted AS enough
FROM asked
ORDER BY looked_at NULLS FIRST, merchant_id
"""  # noqa: S608 - constants of this file and of `attempt_store`

# Also at once when somebody has left the pool since.
POOLS_LOOK_DUE = """
SELECT NOT EXISTS (
    SELECT FROM learned_beliefs AS b
    WHERE b.merchant_id = $1 AND b.looked_at > citadel_now() - $2::interval
        AND NOT EXISTS (SELECT FROM pool_opt_outs AS o WHERE o.opted_out_at > b.looked_at)
)
"""

NOTE_LOOK = """
INSERT INTO learned_beliefs (merchant_id, looked_at)
SELECT unnest($1::text[]), citadel_now()
ON CONFLICT (merchant_id) DO UPDATE SET looked_at = excluded.looked_at
"""

FORGET_GONE = """
DELETE FROM learned_beliefs
WHERE merchant_id IN (
    SELECT b.merchant_id
    FROM learned_beliefs AS b
    WHERE b.merchant_id <> $1
        AND NOT EXISTS (SELECT FROM merchants AS m WHERE m.id::text = b.merchant_id AND m.status = 'active')
    LIMIT $2
)
RETURNING 1
"""

# --- What is learned from ---------------------------------------------------------------------------------------------

_LATEST = f"""
    SELECT r.id, r.merchant_id, row_number() OVER (ORDER BY r.opened_at DESC, r.id DESC) AS place
    FROM (
        SELECT id, merchant_id, opened_at
        FROM recoveries
        WHERE merchant_id = {{merchant}} AND opened_at <= $1
        ORDER BY opened_at DESC, id DESC
        LIMIT {{limit}} * 3
    ) AS r
    WHERE {MAY_TEACH}
    ORDER BY r.opened_at DESC, r.id DESC
    LIMIT {{limit}}
"""  # noqa: S608 - constants of this file and of `attempt_store`

OF_MERCHANT = ATTEMPTS_OF.replace("{recoveries}", _LATEST.format(merchant="$2", limit="$3"))

# Another choice each day, where there are more merchants than are asked; the same in a repeat.
POOLED_MERCHANTS = """
SELECT m.id::text AS merchant_id
FROM merchants AS m
WHERE m.status = 'active'
    AND NOT EXISTS (SELECT FROM pool_opt_outs AS o WHERE o.merchant_id = m.id::text)
    AND EXISTS (SELECT FROM recoveries AS r WHERE r.merchant_id = m.id::text)
ORDER BY hashtextextended(m.id::text, $1)
LIMIT $2
"""

# The latest of each merchant, then the second latest of each, …: the small ones are heard beside the large.
_LATEST_OF_EACH = f"""
    SELECT latest.id, latest.merchant_id, latest.place
    FROM unnest($2::text[]) AS m (id)
    CROSS JOIN LATERAL ({_LATEST.format(merchant="m.id", limit="$3")}) AS latest
    ORDER BY latest.place, latest.merchant_id
    LIMIT $4
"""  # noqa: S608 - constants of this file

OF_POOL = ATTEMPTS_OF.replace("{recoveries}", _LATEST_OF_EACH)

# --- What is kept -----------------------------------------------------------------------------------------------------

FIND = "SELECT belief FROM learned_beliefs WHERE merchant_id = $1 AND layout = $2"

# An older learning, whose task was late, changes nothing.
KEEP = """
INSERT INTO learned_beliefs (merchant_id, looked_at, learned_at, recoveries, layout, belief, differences)
VALUES ($1, citadel_now(), $2, $3, $4, $5, $6)
ON CONFLICT (merchant_id) DO UPDATE
SET learned_at = excluded.learned_at,
    recoveries = excluded.recoveries,
    layout = excluded.layout,
    belief = excluded.belief,
    differences = excluded.differences
WHERE learned_beliefs.learned_at IS NULL OR learned_beliefs.learned_at <= excluded.learned_at
"""

FORGET = """
UPDATE learned_beliefs
SET learned_at = NULL, recoveries = NULL, layout = NULL, belief = NULL, differences = NULL
WHERE merchant_id = $1 AND learned_at <= $2
"""

# The pool's sample: so many merchants at most, and of one at most a quarter of all.
POOLED_AT_MOST = 200
OF_ONE_AT_MOST = REMEMBERED // 4
_READ_IN_ALL = 4 * REMEMBERED
_AT_A_TIME = 200


@dataclass(frozen=True, slots=True)
class Look:
    """A merchant that is to be looked at. `enough`: it has enough recoveries that were not learned from."""

    merchant_id: MerchantId
    enough: bool


@dataclass(frozen=True, slots=True)
class Rhythm:
    """`look`: how long after its last look a merchant is looked at again. `enough`: so many new recoveries, and at
    least a tenth of those that were learned from; after `old` one will do."""

    look: timedelta
    old: timedelta
    enough: int


async def looks_due(db: Connection, rhythm: Rhythm, limit: int) -> list[Look]:
    """The merchants that are to be looked at, those first that have waited longest."""
    rows = await db.fetch(LOOKS_DUE, LAYOUT, rhythm.look, limit, rhythm.enough, rhythm.old)
    return [Look(row["merchant_id"], row["enough"]) for row in rows]


async def is_pools_look_due(db: Connection, rhythm: Rhythm) -> bool:
    """Whether the pool is to be learned from again."""
    return bool(await db.fetchval(POOLS_LOOK_DUE, POOL, rhythm.look))


async def note_look(db: Connection, merchants: Sequence[MerchantId]) -> None:
    """Note that they were looked at."""
    await db.execute(NOTE_LOOK, list(merchants))


async def forget_gone(db: Connection, limit: int) -> int:
    """Delete what was learned of merchants that are gone, at most `limit` rows; how many."""
    return len(await db.fetch(FORGET_GONE, POOL, limit))


async def attempts_of(db: Connection, merchant_id: MerchantId, until: datetime) -> tuple[Tried, ...]:
    """The attempts of a merchant's latest recoveries, by what was known at `until`."""
    return await _tried(db, OF_MERCHANT, until, merchant_id, REMEMBERED)


async def attempts_of_pool(db: Connection, until: datetime) -> tuple[Tried, ...]:
    """The attempts of a sample of the latest recoveries of the pool's merchants, by what was known at `until`."""
    return await _tried(db, OF_POOL, until, *await pool_sample(db, until), REMEMBERED)


async def pool_sample(db: Connection, until: datetime) -> tuple[list[MerchantId], int]:
    """The merchants that the pool is learned from on that day, and how many recoveries of each are read at most."""
    rows = await db.fetch(POOLED_MERCHANTS, until.date().toordinal(), POOLED_AT_MOST)
    return [row["merchant_id"] for row in rows], min(OF_ONE_AT_MOST, _READ_IN_ALL // max(1, len(rows)))


async def belief_of(db: Connection, merchant_id: MerchantId) -> Any:
    """The document of what was learned in this layout; None without one."""
    return await db.fetchval(FIND, merchant_id, LAYOUT)


async def keep(
    db: Connection,
    merchant_id: MerchantId,
    learned_at: datetime,
    recoveries: int,
    belief: Mapping[str, Any],
    differences: Sequence[Difference],
) -> None:
    """Keep what was learned until `learned_at`, unless something newer is kept."""
    told = [
        {"about": each.about, "text": each.text, "share": round(each.share, 6), "expected": round(each.expected, 6)}
        for each in differences
    ]
    await db.execute(KEEP, merchant_id, learned_at, recoveries, LAYOUT, belief, told)


async def forget(db: Connection, merchant_id: MerchantId, learned_at: datetime) -> None:
    """Forget what was learned until `learned_at`: there is nothing to learn from any more."""
    await db.execute(FORGET, merchant_id, learned_at)


async def _tried(db: Connection, statement: str, *arguments: Any) -> tuple[Tried, ...]:
    """The attempts, read piece by piece, so that the process's other tasks go on between."""
    return tuple([tried_of(row) async for row in db.cursor(statement, *arguments, prefetch=_AT_A_TIME)])
