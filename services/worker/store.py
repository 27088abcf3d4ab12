"""The worker's own SQL about the upkeep of the queue; that of a task's life is in `shared.queue.tasks`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from shared.database import Connection

LOCK_RECOVERIES = "SELECT FROM recoveries WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE"

# --- Workers that wait ------------------------------------------------------------------------------------------------

# Not the empty statement: asyncpg cannot read its answer.
PROBE = "SELECT"

DECLARE_IDLE = """
INSERT INTO idle_workers (name, until)
VALUES ($1, clock_timestamp() + $2::interval)
ON CONFLICT (name) DO UPDATE SET until = excluded.until
"""

WITHDRAW_IDLE = "DELETE FROM idle_workers WHERE name = $1 OR until < clock_timestamp() - interval '1 hour'"

# --- The spacing of calls ---------------------------------------------------------------------------------------------

# One row per account: the earliest moment that is free moves on by what is taken. Beyond the horizon nothing is given.
# In the order of accounts, or two workers wait for each other.
TAKE_CALLS = """
INSERT INTO call_rates AS r (remote, account, next_call_at)
SELECT $1, asked.account, statement_timestamp() + asked.calls * asked.gap * interval '1 second'
FROM unnest($2::text[], $3::integer[], $4::float8[]) AS asked (account, calls, gap)
ORDER BY asked.account
ON CONFLICT (remote, account) DO UPDATE
SET next_call_at = greatest(r.next_call_at, statement_timestamp()) + (excluded.next_call_at - statement_timestamp())
WHERE r.next_call_at <= statement_timestamp() + $5::float8 * interval '1 second'
RETURNING account, EXTRACT(epoch FROM next_call_at - statement_timestamp())::float8 AS last
"""

HOLD_CALLS = """
INSERT INTO call_rates AS r (remote, account, next_call_at)
VALUES ($1, $2, clock_timestamp() + $3::float8 * interval '1 second')
ON CONFLICT (remote, account) DO UPDATE
SET next_call_at = greatest(r.next_call_at, excluded.next_call_at)
"""

# --- Periodic work ----------------------------------------------------------------------------------------------------

# A row that is there keeps its time; a new rhythm takes effect with the next run.
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

# There was more to do than one run may: it is due again at once.
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
    # Real time: a browser waits in real time.
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
}

# --- The sweep: work that lost its task -------------------------------------------------------------------------------

# A dead task is not replaced: somebody has to look at it first.
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
SELECT id, merchant_id, invoice_id
FROM lost
WHERE NOT EXISTS (
    SELECT FROM scheduled_tasks AS t
    WHERE t.merchant_id = lost.merchant_id AND t.recovery_id = lost.id
        AND t.task_type = 'dunning_retry' AND t.status = 'dead'
)
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

# --- Merchants and their numbers --------------------------------------------------------------------------------------

FIND_MERCHANT = "SELECT stripe_connect_id, status = 'active' AS active FROM merchants WHERE id = $1"

WEEK_OF_MERCHANT = """
SELECT
    currency,
    sum(recovered_cents)::bigint AS recovered_cents,
    sum(recovered_count)::bigint AS recovered_count,
    sum(failed_cents)::bigint AS failed_cents,
    sum(failed_count)::bigint AS failed_count,
    sum(attempt_count)::bigint AS attempt_count,
    sum(message_count)::bigint AS message_count
FROM daily_metrics
WHERE merchant_id = $1 AND metric_date >= $2 AND metric_date < $3 AND currency <> 'xxx'
GROUP BY currency
ORDER BY currency
"""


@dataclass(frozen=True, slots=True)
class Merchant:
    """A connected account. `account` is `acct_…`."""

    account: str
    active: bool


@dataclass(frozen=True, slots=True)
class WeekInCurrency:
    """A merchant's week in one currency; amounts in minor units."""

    currency: str
    recovered_cents: int
    recovered_count: int
    failed_cents: int
    failed_count: int
    attempt_count: int
    message_count: int


@dataclass(frozen=True, slots=True)
class LostRecovery:
    """A recovery that goes on and has no task."""

    id: UUID
    merchant_id: str
    invoice_id: str


async def lock_recoveries(db: Connection, recovery_ids: Sequence[UUID]) -> None:
    """Lock recoveries, by id, until the end of the transaction."""
    if recovery_ids:
        await db.execute(LOCK_RECOVERIES, recovery_ids)


async def probe(db: Connection) -> None:
    """Hear from the server. Raises when the connection is dead."""
    await db.execute(PROBE)


async def declare_idle(db: Connection, name: str, how_long: timedelta) -> None:
    """Have the next insert of due tasks notify, for as long as this worker lets it stand."""
    await db.execute(DECLARE_IDLE, name, how_long)


async def withdraw_idle(db: Connection, name: str) -> None:
    """This worker waits no more; what dead ones left goes with it."""
    await db.execute(WITHDRAW_IDLE, name)


async def take_calls(
    db: Connection, remote: str, accounts: Sequence[str], calls: Sequence[int], gaps: Sequence[float], horizon: float
) -> dict[str, float]:
    """Take so many calls of each account, `gap` seconds apart; the seconds until the first of each.

    An account that is missing has none within `horizon` seconds: nothing was taken.
    """
    rows = await db.fetch(TAKE_CALLS, remote, accounts, calls, gaps, horizon)
    taken = dict(zip(accounts, zip(calls, gaps, strict=True), strict=True))
    return {row["account"]: row["last"] - taken[row["account"]][0] * taken[row["account"]][1] for row in rows}


async def hold_calls(db: Connection, remote: str, account: str, seconds: float) -> None:
    """Give no call of the account away for so long."""
    await db.execute(HOLD_CALLS, remote, account, seconds)


async def declare_periodic(db: Connection, rhythms: Sequence[tuple[str, timedelta]]) -> None:
    """Make sure that each (name, every) has a row; a new one is due at once."""
    await db.execute(DECLARE_PERIODIC, [name for name, _ in rhythms], [every for _, every in rhythms])


async def claim_periodic(db: Connection, names: Sequence[str]) -> str | None:
    """Take the periodic work that is due longest; None when none is, or others are at it."""
    name: str | None = await db.fetchval(CLAIM_PERIODIC, list(names))
    return name


async def periodic_again(db: Connection, name: str) -> None:
    """Have the periodic work run again at once."""
    await db.execute(PERIODIC_AGAIN, name)


async def prune(db: Connection, table: str, age: timedelta, limit: int) -> int:
    """Delete at most `limit` rows older than `age`; how many. Inside a transaction."""
    # The index of what has finished is a BRIN, which is read by bitmaps only; `shared.database` turns them off.
    await db.execute("SET LOCAL enable_bitmapscan = on")
    return len(await db.fetch(PRUNE[table], age, limit))


async def lost_recoveries(db: Connection, limit: int) -> list[LostRecovery]:
    """Recoveries that go on without a task that will look after them."""
    return [LostRecovery(**row) for row in await db.fetch(LOST_RECOVERIES, limit)]


async def lost_digests(db: Connection, limit: int) -> list[str]:
    """The ids of active merchants without a weekly digest ahead."""
    return [row["merchant_id"] for row in await db.fetch(LOST_DIGESTS, limit)]


def merchant_key(merchant_id: str) -> UUID | None:
    """The key in `merchants`; None for what is none: the queue's API takes any text."""
    try:
        return UUID(merchant_id)
    except ValueError:
        return None


async def find_merchant(db: Connection, merchant_id: str) -> Merchant | None:
    """The merchant with this id; None when there is none."""
    row = await db.fetchrow(FIND_MERCHANT, merchant_key(merchant_id))
    return None if row is None else Merchant(row["stripe_connect_id"], row["active"])


async def week_of(db: Connection, merchant_id: str, ends: datetime) -> tuple[date, date, list[WeekInCurrency]]:
    """The seven whole days (UTC) before `ends`: the first day, the day after the last, and the sums by currency."""
    last = ends.date()
    first = last - timedelta(days=7)
    rows = await db.fetch(WEEK_OF_MERCHANT, merchant_id, first, last)
    return first, last, [WeekInCurrency(**row) for row in rows]
