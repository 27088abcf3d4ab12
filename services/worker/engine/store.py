"""The engine's own SQL: locks, idle workers, periodic work, retention. A task's life is in `shared.queue.tasks`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.database import Connection
from shared.ids import InvoiceId, MerchantId, RecoveryId

LOCK_RECOVERIES = "SELECT FROM recoveries WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE"

# With all open recoveries of the same customers, in one order: $2 are those whose customers are meant.
LOCK_WITH_CUSTOMERS = """
SELECT
FROM recoveries
WHERE id IN (
    SELECT unnest($1::uuid[])
    UNION
    SELECT other.id
    FROM recoveries AS named
    JOIN recoveries AS other
        ON other.merchant_id = named.merchant_id AND other.customer_id = named.customer_id AND other.closed_at IS NULL
    WHERE named.id = ANY ($2::uuid[])
)
ORDER BY id
FOR UPDATE
"""

# --- Workers that wait ------------------------------------------------------------------------------------------------

# Not the empty statement: asyncpg cannot read its answer.
PROBE = "SELECT"

DECLARE_IDLE = """
INSERT INTO idle_workers (name, until)
VALUES ($1, clock_timestamp() + $2::interval)
ON CONFLICT (name) DO UPDATE SET until = excluded.until
"""

WITHDRAW_IDLE = "DELETE FROM idle_workers WHERE name = $1 OR until < clock_timestamp() - interval '1 hour'"

# --- Periodic work ----------------------------------------------------------------------------------------------------

# A row that exists keeps its time; a new interval takes effect with the next run.
DECLARE_PERIODIC = """
INSERT INTO periodic_tasks (name, every)
SELECT * FROM unnest($1::text[], $2::interval[]) AS declared (name, every)
ORDER BY name
ON CONFLICT (name) DO UPDATE SET every = excluded.every WHERE periodic_tasks.every <> excluded.every
"""

# The row stays locked until the work's own transaction ends; other workers pass it by.
CLAIM_PERIODIC = """
UPDATE periodic_tasks
SET next_run_at = citadel_now() + every, last_run_at = citadel_now()
WHERE name = (
    SELECT name
    FROM periodic_tasks
    WHERE next_run_at <= citadel_now() AND name = ANY($1)
    ORDER BY next_run_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING name
"""

# More is left than one run may do: due again at once.
PERIODIC_AGAIN = "UPDATE periodic_tasks SET next_run_at = citadel_now() WHERE name = $1"

# --- Retention --------------------------------------------------------------------------------------------------------

# Each takes the cut-off's age and a limit. Only one worker prunes at a time: it holds the periodic row.
PRUNE = {
    "processed_events": """
DELETE FROM processed_events
WHERE event_id IN (
    SELECT event_id FROM processed_events
    WHERE processed_at < citadel_now() - $1::interval
    LIMIT $2
)
RETURNING 1
""",
    "scheduled_tasks": """
DELETE FROM scheduled_tasks
WHERE id IN (
    SELECT id FROM scheduled_tasks
    WHERE status IN ('succeeded', 'dead', 'canceled') AND finished_at < citadel_now() - $1::interval
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
RETURNING 1
""",
    "money_back": """
DELETE FROM money_back
WHERE (merchant_id, kind, external_id) IN (
    SELECT merchant_id, kind, external_id FROM money_back
    WHERE NOT booked AND noted_at < citadel_now() - $1::interval
    LIMIT $2
)
RETURNING 1
""",
    "collection_turned_off": """
DELETE FROM collection_turned_off
WHERE (merchant_id, invoice_id) IN (
    SELECT merchant_id, invoice_id FROM collection_turned_off
    WHERE noted_at < citadel_now() - $1::interval
    LIMIT $2
)
RETURNING 1
""",
    # In real time, because a browser waits in real time.
    "oauth_states": """
DELETE FROM oauth_states
WHERE nonce_hash IN (
    SELECT nonce_hash FROM oauth_states
    WHERE expires_at < clock_timestamp() - $1::interval
    LIMIT $2
)
RETURNING 1
""",
    "idempotency_keys": """
DELETE FROM idempotency_keys
WHERE (api_key_id, key) IN (
    SELECT api_key_id, key FROM idempotency_keys
    WHERE created_at < citadel_now() - $1::interval
    LIMIT $2
)
RETURNING 1
""",
    "left_alone": """
DELETE FROM left_alone
WHERE id IN (
    SELECT id FROM left_alone
    WHERE until < citadel_now() - $1::interval
    LIMIT $2
)
RETURNING 1
""",
}

# --- The sweep: recoveries and digests without a task -----------------------------------------------------------------

# A dead evaluation is replaced by a new one after a day, for as long as the recovery is open: what killed it may be
# mended. Until then the recovery has `attention` in the API. What an operator has dismissed is to be left out here.
LOST_RECOVERIES = """
WITH lost AS MATERIALIZED (
    SELECT r.id, r.merchant_id, r.invoice_id
    FROM recoveries AS r
    WHERE r.closed_at IS NULL
        AND NOT EXISTS (
            SELECT FROM scheduled_tasks AS t
            WHERE t.recovery_id = r.id AND t.status IN ('pending', 'running') AND t.task_type = 'dunning_retry'
        )
)
SELECT id, merchant_id, invoice_id, died_at IS NOT NULL AS dead
FROM lost
CROSS JOIN LATERAL (
    SELECT max(COALESCE(t.finished_at, t.created_at)) AS died_at
    FROM scheduled_tasks AS t
    WHERE t.merchant_id = lost.merchant_id AND t.recovery_id = lost.id
        AND t.task_type = 'dunning_retry' AND t.status = 'dead'
) AS last
WHERE died_at IS NULL OR died_at < citadel_now() - $2::interval
LIMIT $1
"""

LOST_DIGESTS = """
WITH lost AS MATERIALIZED (
    SELECT m.id::text AS merchant_id
    FROM merchants AS m
    WHERE m.status = 'active'
        AND NOT EXISTS (
            SELECT FROM scheduled_tasks AS t
            WHERE t.unique_key = 'send_weekly_digest:' || m.id::text AND t.status IN ('pending', 'running')
        )
)
SELECT merchant_id
FROM lost
WHERE NOT EXISTS (
    SELECT FROM scheduled_tasks AS t
    WHERE t.merchant_id = lost.merchant_id AND t.task_type = 'send_weekly_digest' AND t.status = 'dead'
)
LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class LostRecovery:
    """An open recovery without a task. `dead`: its last evaluation died."""

    id: RecoveryId
    merchant_id: MerchantId
    invoice_id: InvoiceId
    dead: bool


async def lock_recoveries(
    db: Connection, recovery_ids: Sequence[RecoveryId], with_customers_of: Sequence[RecoveryId] = ()
) -> None:
    """Lock recoveries, by id, until the end of the transaction; of some also their customers' other open ones."""
    if with_customers_of:
        await db.execute(LOCK_WITH_CUSTOMERS, recovery_ids, with_customers_of)
    elif recovery_ids:
        await db.execute(LOCK_RECOVERIES, recovery_ids)


async def probe(db: Connection) -> None:
    """Ask the server for an answer. Raises when the connection is dead."""
    await db.execute(PROBE)


async def declare_idle(db: Connection, name: str, how_long: timedelta) -> None:
    """Declare this worker idle for `how_long`: the next insert of due tasks rings the bell."""
    await db.execute(DECLARE_IDLE, name, how_long)


async def withdraw_idle(db: Connection, name: str) -> None:
    """Withdraw this worker's declaration, and those that have run out."""
    await db.execute(WITHDRAW_IDLE, name)


async def declare_periodic(db: Connection, rhythms: Sequence[tuple[str, timedelta]]) -> None:
    """Make sure that each (name, interval) has a row; a new one is due at once."""
    await db.execute(DECLARE_PERIODIC, [name for name, _ in rhythms], [every for _, every in rhythms])


async def claim_periodic(db: Connection, names: Sequence[str]) -> str | None:
    """Take the periodic work that has been due longest; None when none is due or others are doing it."""
    name: str | None = await db.fetchval(CLAIM_PERIODIC, list(names))
    return name


async def periodic_again(db: Connection, name: str) -> None:
    """Make the periodic work due again at once."""
    await db.execute(PERIODIC_AGAIN, name)


async def prune(db: Connection, table: str, age: timedelta, limit: int) -> int:
    """Delete at most `limit` rows older than `age`; how many. Inside a transaction."""
    # The index of finished tasks is a BRIN, which only bitmap scans read, and `shared.database` turns those off.
    await db.execute("SET LOCAL enable_bitmapscan = on")
    return len(await db.fetch(PRUNE[table], age, limit))


async def lost_recoveries(db: Connection, limit: int, rest: timedelta) -> list[LostRecovery]:
    """Open recoveries without a task; those whose evaluation died once that is longer ago than `rest`."""
    return [LostRecovery(**row) for row in await db.fetch(LOST_RECOVERIES, limit, rest)]


async def lost_digests(db: Connection, limit: int) -> list[MerchantId]:
    """The ids of active merchants without a queued weekly digest."""
    return [row["merchant_id"] for row in await db.fetch(LOST_DIGESTS, limit)]
