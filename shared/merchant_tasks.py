"""The tasks of a merchant that are about no recovery, and the one way to queue each.

    send_weekly_digest   emails the merchant the numbers of its week
    warn_card_expiring   warns a customer whose card will have expired when a subscription renews

Each has a unique key: a merchant has at most one digest queued, and a subscription one warning. The tasks of recoveries
are in `recovery_tasks`.
"""

from datetime import datetime

from shared.database import Connection
from shared.ids import CustomerId, MerchantId, SubscriptionId
from shared.queue import tasks
from shared.queue.tasks import NewTask

DIGEST = "send_weekly_digest"
WARN_OF_CARD = "warn_card_expiring"


async def digest_at(db: Connection, merchant_id: MerchantId, at: datetime) -> None:
    """Queue the merchant's digest for a time, unless one is queued."""
    await tasks.enqueue(db, NewTask(merchant_id, DIGEST, {}, at, unique_key=f"{DIGEST}:{merchant_id}"))


async def warn_of_card(
    db: Connection,
    merchant_id: MerchantId,
    customer_id: CustomerId,
    subscription_id: SubscriptionId,
    at: datetime | None = None,
) -> None:
    """Have it looked at whether a card expires before the subscription renews, for a time or for now, unless it is
    queued."""
    payload = {"customer_id": customer_id, "subscription_id": subscription_id}
    key = f"{WARN_OF_CARD}:{merchant_id}:{subscription_id}"
    await tasks.enqueue(db, NewTask(merchant_id, WARN_OF_CARD, payload, at, unique_key=key))
