"""The SQL of merchants and their weekly sums."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from shared.database import Connection
from shared.ids import AccountId, MerchantId

FIND_MERCHANT = "SELECT stripe_connect_id, status = 'active' AS active, livemode FROM merchants WHERE id = $1"

WEEK_OF_MERCHANT = """
SELECT
    currency,
    sum(recovered_cents)::bigint AS recovered_cents,
    sum(recovered_count)::bigint AS recovered_count,
    sum(refunded_cents)::bigint AS refunded_cents,
    sum(disputed_cents)::bigint AS disputed_cents,
    sum(won_back_cents)::bigint AS won_back_cents,
    sum(failed_cents)::bigint AS failed_cents,
    sum(failed_count)::bigint AS failed_count,
    sum(attempt_count)::bigint AS attempt_count,
    sum(message_count)::bigint AS message_count
FROM daily_metrics
WHERE merchant_id = $1 AND metric_date >= $2 AND metric_date < $3 AND currency <> 'xxx'
GROUP BY currency
ORDER BY currency
"""


@dataclass(frozen=True, slots=True)
class ConnectedAccount:
    """A connected account. `account` is `acct_…`; `livemode` is that of the connection, None if it is not known."""

    account: AccountId
    active: bool
    livemode: bool | None = None


@dataclass(frozen=True, slots=True)
class WeekInCurrency:
    """A merchant's week in one currency; amounts in minor units. What is recovered is net of what was taken back."""

    currency: str
    recovered_cents: int
    recovered_count: int
    refunded_cents: int
    disputed_cents: int
    won_back_cents: int
    failed_cents: int
    failed_count: int
    attempt_count: int
    message_count: int


def merchant_key(merchant_id: MerchantId) -> UUID | None:
    """The key in `merchants`; None for a text that is none, because a task's `merchant_id` may be any text."""
    try:
        return UUID(merchant_id)
    except ValueError:
        return None


async def find_merchant(db: Connection, merchant_id: MerchantId) -> ConnectedAccount | None:
    """The merchant with this id; None when there is none."""
    row = await db.fetchrow(FIND_MERCHANT, merchant_key(merchant_id))
    return None if row is None else ConnectedAccount(row["stripe_connect_id"], row["active"], row["livemode"])


async def week_of(db: Connection, merchant_id: MerchantId, ends: datetime) -> tuple[date, date, list[WeekInCurrency]]:
    """The seven whole days (UTC) before `ends`: the first day, the day after the last, and the sums by currency."""
    last = ends.date()
    first = last - timedelta(days=7)
    rows = await db.fetch(WEEK_OF_MERCHANT, merchant_id, first, last)
    return first, last, [WeekInCurrency(**row) for row in rows]
