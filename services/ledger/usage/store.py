"""The SQL of usage."""

from services.ledger.api.select import Row
from shared.database import Connection
from shared.ids import CustomerId, MerchantId

INSERT_USAGE = """
INSERT INTO usage_logs (merchant_id, metric_type, amount, customer_id)
VALUES ($1, $2, $3, $4)
RETURNING public_id AS id, created_at
"""


async def insert_usage(
    db: Connection, merchant_id: MerchantId, metric_type: str, amount: int, customer_id: CustomerId
) -> Row:
    """Write one row of the ledger that is not about a recovery; its public id and time."""
    row = await db.fetchrow(INSERT_USAGE, merchant_id, metric_type, amount, customer_id)
    if row is None:
        raise LookupError("INSERT … RETURNING gives one row")
    return row
