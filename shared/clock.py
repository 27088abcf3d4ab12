"""Business time: the database's clock plus the offset in `test_clock`, which is empty in production.

Code that decides by time gets the present time as an argument. It is read here, inside the transaction that uses it.
Leases and time-outs use real time and never this clock.
"""

from datetime import UTC, datetime

from shared.database import Connection

NOW = "SELECT citadel_now()"

TRAVEL = """
INSERT INTO test_clock (clock_offset)
VALUES ($1::timestamptz - now())
ON CONFLICT (only_row) DO UPDATE SET clock_offset = excluded.clock_offset
"""


async def business_now(db: Connection) -> datetime:
    """The present business time, aware, in UTC; the same throughout one transaction."""
    now: datetime = await db.fetchval(NOW)
    return now.astimezone(UTC)


async def travel_to(db: Connection, when: datetime) -> None:
    """Set the business time of all processes at once. Needs the database's owner; for the demo and tests."""
    await db.execute(TRAVEL, when)
