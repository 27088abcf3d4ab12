"""The SQL of learning in which hours customers answer: the messages that were sent, and the counts that are kept."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from asyncpg import Record

from services.worker.learning.store import pool_sample
from services.worker.recovery.message_answers import LAYOUT, REMEMBERED, Counts, Sent, Written, written_of
from services.worker.recovery.timezones import zone_of
from shared.database import Connection
from shared.ids import MerchantId

# One row for each email that went out, with the time at which its recovery was paid by the customer, if it was: on the
# hosted page (what is booked as paid after a message), or with another card that the customer had brought. Printed ones
# reached nobody.
_MESSAGES = """
SELECT r.merchant_id, r.id AS recovery_id, r.country, t.detail ->> 'kind' AS kind, t.at, CASE
        WHEN r.recovered_by = 'message' THEN COALESCE((
            SELECT max(c.charged_at) FROM recovered_charges AS c WHERE c.recovery_id = r.id
        ), r.closed_at)
        WHEN r.recovered_by = 'retry' THEN (
            SELECT min(a.started_at) FROM attempts AS a
            WHERE a.recovery_id = r.id AND a.result = 'succeeded' AND a.payment_method_id = ANY (r.brought)
        )
    END AS paid_at
FROM ({recoveries}) AS r
-- By each recovery's index: a policy has 61 days of messages at most, and without a limit the planner may read it all.
CROSS JOIN LATERAL (
    SELECT id, at, detail
    FROM recovery_timeline
    WHERE recovery_id = r.id AND kind = 'messaged' AND at <= $1
    ORDER BY id
    LIMIT 100
) AS t
ORDER BY r.place, r.id, t.id
"""

_LATEST = """
    SELECT id, merchant_id, segment_facts ->> 'country' AS country, recovered_by, closed_at, brought,
        row_number() OVER (ORDER BY opened_at DESC, id DESC) AS place
    FROM recoveries
    WHERE merchant_id = {merchant} AND opened_at <= $1
    ORDER BY opened_at DESC, id DESC
    LIMIT {limit}
"""

MESSAGES_OF_MERCHANT = _MESSAGES.replace("{recoveries}", _LATEST.format(merchant="$2", limit="$3"))

# The latest of each merchant, then the second latest of each, …: as for beliefs.
_LATEST_OF_EACH = f"""
    SELECT latest.*
    FROM unnest($2::text[]) AS m (id)
    CROSS JOIN LATERAL ({_LATEST.format(merchant="m.id", limit="$3")}) AS latest
    ORDER BY latest.place, latest.merchant_id
    LIMIT $4
"""  # noqa: S608 - constants of this file

MESSAGES_OF_POOL = _MESSAGES.replace("{recoveries}", _LATEST_OF_EACH)

# An older learning, whose task was late, changes nothing.
KEEP = """
INSERT INTO learned_message_hours (merchant_id, learned_at, messages, layout, hours)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (merchant_id) DO UPDATE
SET learned_at = excluded.learned_at,
    messages = excluded.messages,
    layout = excluded.layout,
    hours = excluded.hours
WHERE learned_message_hours.learned_at <= excluded.learned_at
"""

FORGET = "DELETE FROM learned_message_hours WHERE merchant_id = $1 AND learned_at <= $2"

FORGET_GONE = """
DELETE FROM learned_message_hours
WHERE merchant_id IN (
    SELECT h.merchant_id
    FROM learned_message_hours AS h
    WHERE h.merchant_id <> $1
        AND NOT EXISTS (SELECT FROM merchants AS m WHERE m.id::text = h.merchant_id AND m.status = 'active')
    LIMIT $2
)
RETURNING 1
"""

_AT_A_TIME = 200


async def messages_of(db: Connection, merchant_id: MerchantId, until: datetime) -> tuple[Written, ...]:
    """The messages of a merchant's latest recoveries, with what each had brought by `until`."""
    return await _written(db, until, MESSAGES_OF_MERCHANT, merchant_id, REMEMBERED)


async def messages_of_pool(db: Connection, until: datetime) -> tuple[Written, ...]:
    """The messages of a sample of the latest recoveries of the pool's merchants, with what each had brought by then."""
    return await _written(db, until, MESSAGES_OF_POOL, *await pool_sample(db, until), REMEMBERED)


async def keep(db: Connection, merchant_id: MerchantId, learned_at: datetime, counts: Counts) -> None:
    """Keep what was counted until `learned_at`, unless something newer is kept."""
    await db.execute(KEEP, merchant_id, learned_at, counts.messages, LAYOUT, counts.as_document())


async def forget(db: Connection, merchant_id: MerchantId, learned_at: datetime) -> None:
    """Forget what was counted until `learned_at`: there is nothing to count any more."""
    await db.execute(FORGET, merchant_id, learned_at)


async def forget_gone(db: Connection, pool: MerchantId, limit: int) -> int:
    """Delete what was counted of merchants that are gone, at most `limit` rows; how many."""
    return len(await db.fetch(FORGET_GONE, pool, limit))


async def _written(
    db: Connection, until: datetime, statement: str, merchants: MerchantId | Sequence[MerchantId], *limits: int
) -> tuple[Written, ...]:
    """Read piece by piece, so that the process's other tasks go on between."""
    rows = [row async for row in db.cursor(statement, until, merchants, *limits, prefetch=_AT_A_TIME)]
    found: list[Written] = []
    for _, group in groupby(rows, key=lambda row: row["recovery_id"]):
        found += _of_recovery(list(group), until)
    return tuple(found)


def _of_recovery(rows: Sequence[Record], until: datetime) -> Iterable[Written]:
    zone = zone_of(rows[0]["country"])
    sent = [Sent(row["kind"], row["at"], row["at"].astimezone(zone).hour) for row in rows]
    return written_of(sent, rows[0]["paid_at"], until, rows[0]["merchant_id"])
