"""The SQL that spaces calls, and holds emails while the quota of the email service is used up."""

from collections.abc import Sequence
from datetime import timedelta

from shared.database import Connection

# One row per account holds the earliest free slot, which moves on by what is booked. Nothing is booked beyond the
# horizon. In the order of accounts, or two workers would deadlock.
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

# In business time, unlike the slots above: a day's quota is there again on another day.
HOLD_EMAILS = """
WITH held AS (
    SELECT least(
        citadel_now() + $1::interval,
        date_trunc('day', citadel_now(), 'UTC') + interval '1 day 1 minute'
    ) AS until
)
INSERT INTO call_rates AS r (remote, account, next_call_at)
SELECT 'resend', 'quota', until
FROM held
ON CONFLICT (remote, account) DO UPDATE SET next_call_at = excluded.next_call_at
RETURNING next_call_at - citadel_now()
"""

EMAILS_HELD_FOR = """
SELECT next_call_at - citadel_now()
FROM call_rates
WHERE remote = 'resend' AND account = 'quota' AND next_call_at > citadel_now()
"""


async def take_calls(
    db: Connection, remote: str, accounts: Sequence[str], calls: Sequence[int], gaps: Sequence[float], horizon: float
) -> dict[str, float]:
    """Book so many slots of each account, `gap` seconds apart; the seconds until the first slot of each.

    An account that is missing in the answer has no free slot within `horizon` seconds: nothing was booked.
    """
    rows = await db.fetch(TAKE_CALLS, remote, accounts, calls, gaps, horizon)
    taken = dict(zip(accounts, zip(calls, gaps, strict=True), strict=True))
    return {row["account"]: row["last"] - taken[row["account"]][0] * taken[row["account"]][1] for row in rows}


async def hold_calls(db: Connection, remote: str, account: str, seconds: float) -> None:
    """Leave the account without a free slot for so long."""
    await db.execute(HOLD_CALLS, remote, account, seconds)


async def hold_emails(db: Connection, longest: timedelta) -> timedelta:
    """Let no email go out for so long, but no longer than until midnight UTC; for how long."""
    held: timedelta = await db.fetchval(HOLD_EMAILS, longest)
    return held


async def emails_held_for(db: Connection) -> timedelta | None:
    """How long no email goes out, because the quota is used up; None when they do."""
    left: timedelta | None = await db.fetchval(EMAILS_HELD_FOR)
    return left
