"""The SQL of what is known of an invoice by now: from its recovery's timeline, and before there is one."""

from datetime import datetime

from shared.database import Connection
from shared.ids import InvoiceId, MerchantId, RecoveryId

# When Stripe will make its own attempt is in the worker's decisions, and in the entries about changes of the invoice.
# There is also what was paid in parts. An attempt of Stripe's that it had not announced raises the count that was read.
PAYMENT_IN_DOUBT = """
SELECT COALESCE(stripe_attempts < $2, false) OR EXISTS (
    SELECT
    FROM recovery_timeline
    WHERE recovery_id = $1
        AND (
            detail ? 'stripe_next_attempt_at'
            OR (rule = 'invoice_changed' AND detail -> 'changed' ? 'amount_remaining')
        )
)
FROM recoveries
WHERE id = $1
"""

# Stripe's own next attempt as far as it is known, and since when.
KNOWN_OF_STRIPE = """
SELECT at, (detail ->> 'stripe_next_attempt_at')::timestamptz AS next_attempt_at
FROM recovery_timeline
WHERE recovery_id = $1 AND (kind = 'decided' OR rule = 'invoice_changed')
ORDER BY id DESC
LIMIT 1
"""

# The last word on whether the merchant wants the invoice collected.
TURNED = """
SELECT rule = 'collection_turned_off'
FROM recovery_timeline
WHERE recovery_id = $1 AND rule IN ('collection_turned_off', 'collection_turned_on')
ORDER BY id DESC
LIMIT 1
"""

TURN_OFF = """
INSERT INTO collection_turned_off (merchant_id, invoice_id, event_id)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
"""

TURN_ON = "DELETE FROM collection_turned_off WHERE merchant_id = $1 AND invoice_id = $2"


async def payment_in_doubt(db: Connection, recovery_id: RecoveryId, attempt_count: int | None) -> bool:
    """Whether others than the customer may have paid the recovery's invoice at Stripe: Stripe by an attempt of its own,
    which it announced or which its `attempt_count` shows, or whoever paid a part of it."""
    doubt: bool = await db.fetchval(PAYMENT_IN_DOUBT, recovery_id, attempt_count)
    return doubt


async def known_of_stripe(db: Connection, recovery_id: RecoveryId) -> tuple[datetime, datetime | None] | None:
    """When the timeline last recorded the invoice, and Stripe's next attempt as of then; None before any decision."""
    row = await db.fetchrow(KNOWN_OF_STRIPE, recovery_id)
    return None if row is None else (row["at"], row["next_attempt_at"])


async def turned_off(db: Connection, recovery_id: RecoveryId) -> bool:
    """Whether the timeline says that the merchant turned automatic collection of the invoice off."""
    return bool(await db.fetchval(TURNED, recovery_id))


async def note_collection(
    db: Connection, merchant_id: MerchantId, invoice_id: InvoiceId, event_id: str, *, on: bool
) -> None:
    """Keep that the merchant turned automatic collection of an invoice off, or forget it, for its recovery's opening.

    The merchant is locked, so that no recovery opens meanwhile.
    """
    if on:
        await db.execute(TURN_ON, merchant_id, invoice_id)
    else:
        await db.execute(TURN_OFF, merchant_id, invoice_id, event_id)
