"""The SQL of who is left alone, as the API lists it."""

from collections.abc import Mapping
from typing import Any

from services.ledger.api.select import Select, narrowed

LIST_LEFT_ALONE = """
SELECT id, merchant_id, customer_id, subscription_id, until, reason, created_at
FROM left_alone
WHERE {conditions}
ORDER BY created_at DESC, id DESC
LIMIT $1
"""

LEFT_ALONE_CONDITIONS: Mapping[str, str] = {
    "merchant_id": "merchant_id = ?",
    "customer_id": "customer_id = ?",
    "subscription_id": "subscription_id = ?",
    "before": "(created_at, id) < (?, ?)",
}


def select_left_alone(limit: int, given: Mapping[str, Any]) -> Select:
    """Who is left alone, newest first; `given` holds values for LEFT_ALONE_CONDITIONS."""
    return narrowed(LIST_LEFT_ALONE, [limit], LEFT_ALONE_CONDITIONS, given)
