"""Silences: customers of a merchant who get no messages, the reasons, and what a timeline says about them.

A silence takes effect with its commit: every message checks for it when it is decided, with the recovery locked, and
again right before the email is handed over. Silences do not concern payments: a silenced customer still owes.
"""

from collections.abc import Mapping
from enum import StrEnum

from shared.database import Connection
from shared.ids import CustomerId, MerchantId


class SilenceReason(StrEnum):
    """Why a customer gets no messages; `silenced_customers.reason`. If several apply, the first one is given."""

    OPTED_OUT = "opted_out"
    COMPLAINED = "complained"
    BOUNCED = "bounced"


TEXTS: Mapping[SilenceReason, str] = {
    SilenceReason.OPTED_OUT: "No messages: the customer has unsubscribed.",
    SilenceReason.COMPLAINED: "No messages: the customer marked one as spam.",
    SilenceReason.BOUNCED: "No messages: the customer's mailbox does not exist.",
}
"""What a recovery's timeline says when a silence begins, and when it holds back a message."""

# In the order of SilenceReason: what the customer asked for comes first.
FIND = """
SELECT reason
FROM silenced_customers
WHERE merchant_id = $1 AND customer_id = $2
ORDER BY array_position(ARRAY['opted_out', 'complained', 'bounced'], reason)
LIMIT 1
"""

START = """
INSERT INTO silenced_customers (merchant_id, customer_id, reason)
VALUES ($1, $2, $3)
ON CONFLICT (merchant_id, customer_id, reason) DO NOTHING
RETURNING merchant_id
"""

END = """
DELETE FROM silenced_customers
WHERE merchant_id = $1 AND customer_id = $2 AND ($3::text IS NULL OR reason = $3)
RETURNING merchant_id
"""


async def find(db: Connection, merchant_id: MerchantId, customer_id: CustomerId) -> SilenceReason | None:
    """Why this customer of a merchant gets no messages; None for one who does."""
    reason: str | None = await db.fetchval(FIND, merchant_id, customer_id)
    return None if reason is None else SilenceReason(reason)


async def start(db: Connection, merchant_id: MerchantId, customer_id: CustomerId, reason: SilenceReason) -> bool:
    """Silence this customer. False: they were silenced for this reason already."""
    return await db.fetchval(START, merchant_id, customer_id, reason) is not None


async def end(
    db: Connection, merchant_id: MerchantId, customer_id: CustomerId, reason: SilenceReason | None = None
) -> int:
    """Lift the customer's silence for this reason, or with None all of them; how many there were."""
    return len(await db.fetch(END, merchant_id, customer_id, reason))
