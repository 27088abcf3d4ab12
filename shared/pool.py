"""The pool: the merchants whose recoveries teach what is believed of a merchant that has few of its own.

Every merchant is in it, unless it has opted out: then it is learned from for itself alone. What a merchant has given
the pool is gone from it with the next learning, which an opt-out makes due at once.
"""

from datetime import datetime
from typing import Final

from shared.database import Connection
from shared.ids import MerchantId

POOL: Final = MerchantId("platform")
"""Takes a merchant's place where a row or a task is about all merchants of the pool together."""

OPT_OUT = "INSERT INTO pool_opt_outs (merchant_id) VALUES ($1) ON CONFLICT (merchant_id) DO NOTHING"
OPT_IN = "DELETE FROM pool_opt_outs WHERE merchant_id = $1"
OPTED_OUT_AT = "SELECT opted_out_at FROM pool_opt_outs WHERE merchant_id = $1"


async def opt_out(db: Connection, merchant_id: MerchantId) -> None:
    """Take the merchant out of the pool. A repeat changes nothing."""
    await db.execute(OPT_OUT, merchant_id)


async def opt_in(db: Connection, merchant_id: MerchantId) -> None:
    """Put the merchant back into the pool. A repeat changes nothing."""
    await db.execute(OPT_IN, merchant_id)


async def opted_out_at(db: Connection, merchant_id: MerchantId) -> datetime | None:
    """When the merchant left the pool; None: it is in it."""
    at: datetime | None = await db.fetchval(OPTED_OUT_AT, merchant_id)
    return at
