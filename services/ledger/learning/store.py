"""The SQL of what was learned. This service reads where customers differ, and not the beliefs."""

from services.ledger.api.select import Row
from shared.database import Connection
from shared.ids import MerchantId
from shared.pool import POOL

FIND = "SELECT learned_at, recoveries, differences FROM learned_beliefs WHERE merchant_id = $1"


async def find_learned(db: Connection, merchant_id: MerchantId | None) -> Row | None:
    """What was learned of a merchant's customers, with None of those of the pool; None when there is no row."""
    return await db.fetchrow(FIND, merchant_id or POOL)
