"""The SQL of events about emails; locks are taken in the order that `shared.events.store` gives."""

from shared.database import Connection
from shared.ids import MerchantId, RecoveryId

# A concurrent repeat waits here for the commit or rollback of the first.
RECORD_MESSAGE = """
INSERT INTO processed_events (event_id, processed_at, event_type, merchant_id, object_id, outcome)
VALUES ($1, citadel_now(), $2, $3, $4, $5)
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id
"""

LOCK_OPEN_RECOVERY = """
SELECT id
FROM recoveries
WHERE id = $1 AND merchant_id = $2 AND closed_at IS NULL
FOR UPDATE
"""


async def record_message(
    db: Connection, message_id: str, kind: str, merchant_id: MerchantId | None, email_id: str | None, outcome: str
) -> bool:
    """Record a message of the email service. False: it was recorded before, and must have no effect."""
    noted = await db.fetchval(RECORD_MESSAGE, message_id, kind, merchant_id, email_id, outcome)
    return noted is not None


async def lock_open_recovery(db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId) -> bool:
    """Lock a recovery until the end of the transaction. False: it has ended, or is not this merchant's."""
    return await db.fetchval(LOCK_OPEN_RECOVERY, recovery_id, merchant_id) is not None
