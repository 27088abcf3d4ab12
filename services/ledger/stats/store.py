"""The SQL of the numbers: reads the kept totals, never the book."""

from collections.abc import Mapping
from datetime import date

from services.ledger.api.select import Row, Select, narrowed
from shared.database import Connection
from shared.ids import MerchantId

# Reads one row per currency, however large the book is.
MERCHANT_TOTALS = """
SELECT currency, failed_cents, failed_count, recovered_cents, recovered_count, refunded_cents, disputed_cents,
    won_back_cents, exhausted_cents, exhausted_count, stopped_cents, stopped_count, attempt_count, message_count
FROM merchant_totals
WHERE merchant_id = $1
ORDER BY currency
"""

# Reads one row per merchant and currency, however large the book is.
PLATFORM_TOTALS = """
SELECT currency,
    sum(failed_cents)::bigint AS failed_cents, sum(failed_count)::bigint AS failed_count,
    sum(recovered_cents)::bigint AS recovered_cents, sum(recovered_count)::bigint AS recovered_count,
    sum(refunded_cents)::bigint AS refunded_cents, sum(disputed_cents)::bigint AS disputed_cents,
    sum(won_back_cents)::bigint AS won_back_cents,
    sum(exhausted_cents)::bigint AS exhausted_cents, sum(exhausted_count)::bigint AS exhausted_count,
    sum(stopped_cents)::bigint AS stopped_cents, sum(stopped_count)::bigint AS stopped_count,
    sum(attempt_count)::bigint AS attempt_count, sum(message_count)::bigint AS message_count
FROM merchant_totals
GROUP BY currency
ORDER BY currency
"""

DAILY_OF_MERCHANT = """
SELECT metric_date AS date, currency, failed_cents, failed_count, COALESCE(recovered_cents, 0) AS recovered_cents,
    recovered_count, refunded_cents, disputed_cents, won_back_cents, exhausted_cents, exhausted_count, stopped_cents,
    stopped_count, attempt_count, message_count
FROM daily_metrics
WHERE metric_date BETWEEN $1 AND $2 AND {conditions}
ORDER BY metric_date, currency
"""

DAILY_OF_PLATFORM = """
SELECT metric_date AS date, currency,
    sum(failed_cents)::bigint AS failed_cents, sum(failed_count)::bigint AS failed_count,
    COALESCE(sum(recovered_cents), 0)::bigint AS recovered_cents, sum(recovered_count)::bigint AS recovered_count,
    sum(refunded_cents)::bigint AS refunded_cents, sum(disputed_cents)::bigint AS disputed_cents,
    sum(won_back_cents)::bigint AS won_back_cents,
    sum(exhausted_cents)::bigint AS exhausted_cents, sum(exhausted_count)::bigint AS exhausted_count,
    sum(stopped_cents)::bigint AS stopped_cents, sum(stopped_count)::bigint AS stopped_count,
    sum(attempt_count)::bigint AS attempt_count, sum(message_count)::bigint AS message_count
FROM daily_metrics
WHERE metric_date BETWEEN $1 AND $2 AND {conditions}
GROUP BY metric_date, currency
ORDER BY metric_date, currency
"""

DAILY_CONDITIONS: Mapping[str, str] = {"merchant_id": "merchant_id = ?", "currency": "currency = ?"}


async def totals(db: Connection, merchant_id: MerchantId | None) -> list[Row]:
    """The numbers over all time, one row per currency; None: of all merchants together."""
    if merchant_id is None:
        return await db.fetch(PLATFORM_TOTALS)
    return await db.fetch(MERCHANT_TOTALS, merchant_id)


def select_daily(first: date, last: date, merchant_id: MerchantId | None, currency: str | None) -> Select:
    """The numbers per day and currency, both days included; None: of all merchants together."""
    statement = DAILY_OF_PLATFORM if merchant_id is None else DAILY_OF_MERCHANT
    return narrowed(statement, [first, last], DAILY_CONDITIONS, {"merchant_id": merchant_id, "currency": currency})
