"""The SQL of catching up: each merchant's progress, and whose turn it is."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from services.worker.catch_up.plan import Progress
from shared.database import Connection
from shared.ids import InvoiceId, MerchantId

FIND = """
SELECT events_until, window_until, page_after, types_listed, types_done, invoices_at, invoices_from, invoices_after,
    to_read
FROM catch_ups
WHERE merchant_id = $1
"""

SAVE = """
UPDATE catch_ups
SET events_until = $2,
    window_until = $3,
    page_after = $4,
    invoices_at = $5,
    invoices_from = $6,
    invoices_after = $7,
    to_read = $8,
    types_listed = $9,
    types_done = $10,
    finished_at = CASE WHEN $11 THEN citadel_now() ELSE finished_at END,
    events_found = events_found + $12,
    recoveries_found = recoveries_found + $13
WHERE merchant_id = $1
"""

PUT_OFF = "UPDATE catch_ups SET next_at = citadel_now() + $2::interval WHERE merchant_id = $1"

# A merchant's place within the period is a hash of its id: always the same, and spread evenly over all merchants.
_NEXT = """$1::interval + date_bin(
        $1::interval,
        citadel_now(),
        timestamptz 'epoch' + $1::interval * ((hashtextextended({merchant_id}, 0) & 1048575) / 1048576.0)
    )"""

# For merchants that connected before there were catch-ups, and those without a row for any other reason. How far back
# Stripe's list goes is in `catch_up.plan`.
ADD_MISSING = f"""
INSERT INTO catch_ups (merchant_id, next_at, events_until)
SELECT id, {_NEXT.format(merchant_id="id")}, since
FROM (
    SELECT m.id::text AS id, COALESCE(m.connected_at, m.created_at) AS since
    FROM merchants AS m
    WHERE m.status = 'active' AND NOT EXISTS (SELECT FROM catch_ups AS c WHERE c.merchant_id = m.id::text)
    LIMIT $2
) AS missing
ON CONFLICT (merchant_id) DO NOTHING
RETURNING merchant_id
"""  # noqa: S608 - put together from this module's own SQL only

# Merchants that are gone are moved on too, or each turn would find them again. A dead task is not replaced: an
# operator has to look at it first.
TAKE_TURNS = f"""
WITH due AS MATERIALIZED (
    SELECT merchant_id
    FROM catch_ups
    WHERE next_at <= citadel_now()
    ORDER BY next_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE catch_ups AS c
SET next_at = {_NEXT.format(merchant_id="c.merchant_id")}
FROM due
WHERE c.merchant_id = due.merchant_id
RETURNING c.merchant_id,
    EXISTS (SELECT FROM merchants AS m WHERE m.id = c.merchant_id::uuid AND m.status = 'active')
        AND NOT EXISTS (
            SELECT
            FROM scheduled_tasks AS t
            WHERE t.merchant_id = c.merchant_id AND t.status = 'dead' AND t.task_type = 'catch_up'
        ) AS wanted
"""  # noqa: S608 - put together from this module's own SQL only

# One that was stopped when its merchant left does not count: the merchant is back.
HAVE_RECOVERIES = """
SELECT invoice_id
FROM recoveries
WHERE merchant_id = $1 AND invoice_id = ANY ($2::text[]) AND end_reason IS DISTINCT FROM 'merchant_gone'
"""

# Whatever event was missed, the invoice shows its effect. No lock on the recoveries: a task in a worker's hands is
# left alone.
LOOK_AGAIN = """
UPDATE scheduled_tasks
SET run_at = citadel_now() + random() * $2::interval
WHERE id = ANY (ARRAY(
    SELECT id
    FROM scheduled_tasks
    WHERE merchant_id = $1
        AND status = 'pending'
        AND task_type = 'dunning_retry'
        AND run_at > citadel_now() + $2::interval
    ORDER BY run_at, id
    LIMIT $3
    FOR UPDATE SKIP LOCKED
))
RETURNING id
"""

FORGET_TASK = "DELETE FROM scheduled_tasks WHERE id = $1 AND status = 'succeeded'"


async def find(db: Connection, merchant_id: MerchantId, *, lock: bool = False) -> Progress | None:
    """The merchant's progress; None when it has no row. `lock` locks the row until the transaction ends."""
    row = await db.fetchrow(f"{FIND} FOR UPDATE" if lock else FIND, merchant_id)
    return None if row is None else _progress(dict(row))


def _progress(row: dict[str, Any]) -> Progress:
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Progress(**given)


async def save(
    db: Connection, merchant_id: MerchantId, progress: Progress, *, finished: bool, events: int, recoveries: int
) -> None:
    """Save how far the merchant has come, and count what was found."""
    await db.execute(
        SAVE,
        merchant_id,
        progress.events_until,
        progress.window_until,
        progress.page_after,
        progress.invoices_at,
        progress.invoices_from,
        progress.invoices_after,
        list(progress.to_read),
        list(progress.types_listed),
        list(progress.types_done),
        finished,
        events,
        recoveries,
    )


async def put_off(db: Connection, merchant_id: MerchantId, how_long: timedelta) -> None:
    """Do not catch this merchant up for so long."""
    await db.execute(PUT_OFF, merchant_id, how_long)


async def add_missing(db: Connection, period: timedelta, limit: int) -> int:
    """Add a row for at most `limit` active merchants that have none, each at its place in the period; how many."""
    return len(await db.fetch(ADD_MISSING, period, limit))


async def take_turns(db: Connection, period: timedelta, limit: int) -> tuple[int, list[MerchantId]]:
    """Set the next time of at most `limit` merchants that are due: how many, and the ids of those to catch up."""
    rows = await db.fetch(TAKE_TURNS, period, limit)
    return len(rows), [row["merchant_id"] for row in rows if row["wanted"]]


async def have_recoveries(db: Connection, merchant_id: MerchantId, invoice_ids: Sequence[InvoiceId]) -> set[InvoiceId]:
    """Those of the invoices that have a recovery, open or ended, and not only for as long as the merchant was away."""
    return {row["invoice_id"] for row in await db.fetch(HAVE_RECOVERIES, merchant_id, list(invoice_ids))}


async def look_again(db: Connection, merchant_id: MerchantId, within: timedelta, limit: int) -> int:
    """Evaluate at most `limit` recoveries that would wait longer `within` this time, spread evenly; how many."""
    return len(await db.fetch(LOOK_AGAIN, merchant_id, within, limit))


async def forget_task(db: Connection, task_id: int) -> None:
    """Delete the task that this transaction has completed: it found nothing that anybody would look up."""
    await db.execute(FORGET_TASK, task_id)
