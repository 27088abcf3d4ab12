"""The task of a merchant's weekly digest, and the one way to queue it: a merchant has at most one queued."""

from datetime import datetime

from shared.database import Connection
from shared.ids import MerchantId
from shared.queue import tasks
from shared.queue.tasks import NewTask

DIGEST = "send_weekly_digest"


async def digest_at(db: Connection, merchant_id: MerchantId, at: datetime) -> None:
    """Queue the merchant's digest for a time, unless one is queued."""
    await tasks.enqueue(db, NewTask(merchant_id, DIGEST, {}, at, unique_key=f"{DIGEST}:{merchant_id}"))
