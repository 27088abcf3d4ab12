"""The SQL of card warnings: the policy's days and who was warned. Messages sent are in a recovery's timeline."""

from shared.database import Connection
from shared.ids import CustomerId, MerchantId, PaymentMethodId
from shared.policy import Policy

POLICY_IN_FORCE = """
SELECT document
FROM policies
WHERE active AND (merchant_id = $1 OR merchant_id IS NULL)
ORDER BY merchant_id NULLS LAST
LIMIT 1
"""

CARDS_TOLD_OF = """
SELECT payment_method_id, exp_year, exp_month
FROM card_warnings
WHERE merchant_id = $1 AND customer_id = $2
"""

NOTE_CARD_TOLD_OF = """
INSERT INTO card_warnings (merchant_id, customer_id, payment_method_id, exp_year, exp_month)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""


async def warning_days(db: Connection, merchant_id: MerchantId) -> int:
    """How many days before a renewal the merchant's policy warns of expiring cards; 0: never."""
    document = await db.fetchval(POLICY_IN_FORCE, merchant_id)
    return 0 if document is None else Policy.model_validate(document).card_expiring_days


async def cards_told_of(
    db: Connection, merchant_id: MerchantId, customer_id: CustomerId
) -> list[tuple[PaymentMethodId, int, int]]:
    """(payment method, year, month) of each card that this customer was warned of."""
    rows = await db.fetch(CARDS_TOLD_OF, merchant_id, customer_id)
    return [(row["payment_method_id"], row["exp_year"], row["exp_month"]) for row in rows]


async def note_card_told_of(
    db: Connection,
    merchant_id: MerchantId,
    customer_id: CustomerId,
    payment_method_id: PaymentMethodId,
    year: int,
    month: int,
) -> None:
    """Save that a customer was warned of a card."""
    await db.execute(NOTE_CARD_TOLD_OF, merchant_id, customer_id, payment_method_id, year, month)
