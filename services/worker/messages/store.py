"""The SQL of messages; what was sent is told by a recovery's timeline."""

from services.worker.messages.silence import Silence
from shared.database import Connection

# The customer's own word comes first.
SILENCED = """
SELECT reason
FROM silenced_customers
WHERE merchant_id = $1 AND customer_id = $2
ORDER BY array_position(ARRAY['opted_out', 'complained', 'bounced'], reason)
LIMIT 1
"""


async def silenced(db: Connection, merchant_id: str, customer_id: str) -> Silence | None:
    """Why this customer of a merchant is not written to; None for one who is."""
    reason: str | None = await db.fetchval(SILENCED, merchant_id, customer_id)
    return None if reason is None else Silence(reason)
