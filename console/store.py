"""The SQL that commands share: which merchant is meant."""

from shared.database import Connection
from shared.ids import MerchantId

# By Stripe's id of the account, or by our id.
MERCHANT_NAMED = """
SELECT id::text
FROM merchants
WHERE CASE WHEN $1 LIKE 'acct\\_%' THEN stripe_connect_id = $1 ELSE id::text = lower($1) END
"""


async def merchant_named(db: Connection, name: str) -> MerchantId | None:
    """The id of the merchant with this id, Stripe's (`acct_…`) or ours; None when there is none."""
    found: MerchantId | None = await db.fetchval(MERCHANT_NAMED, name)
    return found
