"""The SQL of silences and card warnings, as the API lists them."""

from collections.abc import Mapping
from typing import Any

from services.ledger.api.select import Select, narrowed

LIST_SILENCES = """
SELECT id, merchant_id, customer_id, reason, silenced_at
FROM silenced_customers
WHERE {conditions}
ORDER BY id DESC
LIMIT $1
"""

LIST_CARD_WARNINGS = """
SELECT id, merchant_id, customer_id, payment_method_id, exp_month, exp_year, warned_at
FROM card_warnings
WHERE {conditions}
ORDER BY id DESC
LIMIT $1
"""

CUSTOMER_CONDITIONS: Mapping[str, str] = {
    "merchant_id": "merchant_id = ?",
    "customer_id": "customer_id = ?",
    "before": "id < ?",
}


def select_silences(limit: int, given: Mapping[str, Any]) -> Select:
    """Silences, newest first; `given` holds values for CUSTOMER_CONDITIONS."""
    return narrowed(LIST_SILENCES, [limit], CUSTOMER_CONDITIONS, given)


def select_card_warnings(limit: int, given: Mapping[str, Any]) -> Select:
    """Card warnings, newest first; `given` holds values for CUSTOMER_CONDITIONS."""
    return narrowed(LIST_CARD_WARNINGS, [limit], CUSTOMER_CONDITIONS, given)
