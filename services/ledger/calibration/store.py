"""The SQL of the report on calibration."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from services.ledger.api.select import Select, narrowed
from services.ledger.calibration.measure import BINS
from shared.ids import MerchantId

CalibratedBy = Literal["cause", "merchant"]

_GROUPS: Mapping[CalibratedBy, str] = {"cause": "a.after_cause", "merchant": "a.merchant_id"}

# Known outcomes are the bank's answers. Left out: what has none yet, and what Stripe refused without asking the bank.
# Attempts that were never made are in no number.
_KNOWN = "a.result IN ('succeeded', 'declined', 'requires_action')"
CALIBRATION = f"""
SELECT
    {{group}} AS "group",
    least(floor(a.predicted_chance * {BINS})::integer, {BINS - 1}) AS bin,
    count(*) FILTER (WHERE {_KNOWN}) AS attempts,
    COALESCE(sum(a.predicted_chance) FILTER (WHERE {_KNOWN}), 0) AS expected,
    count(*) FILTER (WHERE a.result = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE a.result IN ('started', 'processing', 'unknown')) AS without_outcome,
    count(*) FILTER (WHERE a.result = 'failed') AS refused
FROM (SELECT id FROM recoveries WHERE opened_at >= $1 AND opened_at < $2 AND {{conditions}}) AS r
JOIN attempts AS a ON a.recovery_id = r.id
WHERE a.predicted_chance IS NOT NULL AND a.result <> 'abandoned'
GROUP BY 1, 2
"""  # noqa: S608 - constants of this service


def select_calibration(
    first: datetime, until: datetime, merchant_id: MerchantId | None, group_by: CalibratedBy
) -> Select:
    """The predicted attempts of the recoveries opened from `first` to before `until`; a row per group and bin."""
    statement = CALIBRATION.replace("{group}", _GROUPS[group_by])
    return narrowed(statement, [first, until], {"merchant_id": "merchant_id = ?"}, {"merchant_id": merchant_id})
