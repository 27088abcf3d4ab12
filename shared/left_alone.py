"""Customers and subscriptions that are left alone: no attempt, no message, no end action, for a time or for good.

It takes effect with its commit: it is read with every dossier, and again right before every call. A silence
(`shared.silences`) is less: it ends messages only, and the customer still owes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.database import Connection
from shared.ids import CustomerId, MerchantId, RecoveryId, SubscriptionId
from shared.recovery_model import OperatorReason


@dataclass(frozen=True, slots=True)
class Whom:
    """A customer or a subscription of a merchant: exactly one of the two."""

    merchant_id: MerchantId
    customer_id: CustomerId | None = None
    subscription_id: SubscriptionId | None = None

    def __post_init__(self) -> None:
        if (self.customer_id is None) == (self.subscription_id is None):
            raise ValueError("name a customer or a subscription, and not both")


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """One row. `until=None`: for good."""

    id: UUID
    whom: Whom
    until: datetime | None
    reason: OperatorReason
    created_at: datetime


_ROW = "id, merchant_id, customer_id, subscription_id, until, reason, created_at"

# Repeated with other words it is changed: the last word holds.
ADD_CUSTOMER = """
INSERT INTO left_alone (merchant_id, customer_id, until, reason)
VALUES ($1, $2, $3, $4)
ON CONFLICT (merchant_id, customer_id) WHERE customer_id IS NOT NULL
DO UPDATE SET until = excluded.until, reason = excluded.reason
RETURNING <row>
""".replace("<row>", _ROW)

ADD_SUBSCRIPTION = """
INSERT INTO left_alone (merchant_id, subscription_id, until, reason)
VALUES ($1, $2, $3, $4)
ON CONFLICT (merchant_id, subscription_id) WHERE subscription_id IS NOT NULL
DO UPDATE SET until = excluded.until, reason = excluded.reason
RETURNING <row>
""".replace("<row>", _ROW)

FIND_CUSTOMER = """
SELECT <row> FROM left_alone WHERE merchant_id = $1 AND customer_id = $2
""".replace("<row>", _ROW)

FIND_SUBSCRIPTION = """
SELECT <row> FROM left_alone WHERE merchant_id = $1 AND subscription_id = $2
""".replace("<row>", _ROW)

REMOVE = """
DELETE FROM left_alone
WHERE id = $1 AND ($2::text IS NULL OR merchant_id = $2)
RETURNING <row>
""".replace("<row>", _ROW)

# Each half by an index of its own. The ends of all that hold now; NULL: for good.
ENDS = """
SELECT until FROM left_alone
WHERE merchant_id = $1 AND customer_id = $2 AND (until IS NULL OR until > citadel_now())
UNION ALL
SELECT until FROM left_alone
WHERE merchant_id = $1 AND subscription_id = $3 AND (until IS NULL OR until > citadel_now())
"""

OF_RECOVERY = """
SELECT EXISTS (
    SELECT
    FROM recoveries AS r
    WHERE r.id = $1
        AND (
            EXISTS (
                SELECT FROM left_alone AS l
                WHERE l.merchant_id = r.merchant_id AND l.customer_id = r.customer_id
                    AND (l.until IS NULL OR l.until > citadel_now())
            )
            OR EXISTS (
                SELECT FROM left_alone AS l
                WHERE l.merchant_id = r.merchant_id AND l.subscription_id = r.subscription_id
                    AND (l.until IS NULL OR l.until > citadel_now())
            )
        )
)
"""


async def add(db: Connection, whom: Whom, until: datetime | None, reason: OperatorReason) -> LeftAlone:
    """Leave a customer or a subscription alone from the commit on; a repeat changes until when, and the reason."""
    if whom.customer_id is not None:
        row = await db.fetchrow(ADD_CUSTOMER, whom.merchant_id, whom.customer_id, until, reason)
    else:
        row = await db.fetchrow(ADD_SUBSCRIPTION, whom.merchant_id, whom.subscription_id, until, reason)
    if row is None:
        raise LookupError("an INSERT that updates on conflict gives a row")
    return _row(*row)


async def find(db: Connection, whom: Whom) -> LeftAlone | None:
    """The row about exactly this customer or subscription; it may be over."""
    if whom.customer_id is not None:
        row = await db.fetchrow(FIND_CUSTOMER, whom.merchant_id, whom.customer_id)
    else:
        row = await db.fetchrow(FIND_SUBSCRIPTION, whom.merchant_id, whom.subscription_id)
    return None if row is None else _row(*row)


async def remove(db: Connection, row_id: UUID, merchant_id: MerchantId | None) -> LeftAlone | None:
    """Delete a row, of this merchant only unless None; what it said, None when there is none."""
    row = await db.fetchrow(REMOVE, row_id, merchant_id)
    return None if row is None else _row(*row)


async def ends(
    db: Connection, merchant_id: MerchantId, customer_id: CustomerId | None, subscription_id: SubscriptionId | None
) -> Sequence[datetime | None]:
    """Until when each row that holds now leaves this customer or this subscription alone; None is for good."""
    return [row["until"] for row in await db.fetch(ENDS, merchant_id, customer_id, subscription_id)]


async def of_recovery(db: Connection, recovery_id: RecoveryId) -> bool:
    """Whether the recovery's customer or its subscription is left alone now."""
    alone: bool = await db.fetchval(OF_RECOVERY, recovery_id)
    return alone


def _row(
    row_id: UUID,
    merchant_id: MerchantId,
    customer_id: CustomerId | None,
    subscription_id: SubscriptionId | None,
    until: datetime | None,
    reason: str,
    created_at: datetime,
) -> LeftAlone:
    return LeftAlone(row_id, Whom(merchant_id, customer_id, subscription_id), until, OperatorReason(reason), created_at)
