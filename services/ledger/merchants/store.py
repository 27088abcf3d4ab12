"""The SQL of merchants."""

from collections.abc import Mapping
from uuid import UUID

from services.ledger.api.pagination import ByTime
from services.ledger.api.select import Select, narrowed

LIST_MERCHANTS = """
SELECT id, stripe_connect_id, tier, status, livemode, created_at, connected_at, disconnected_at,
    catch_ups.finished_at AS caught_up_at, COALESCE(events_found, 0) AS missed_events,
    COALESCE(recoveries_found, 0) AS missed_recoveries,
    COALESCE((
        SELECT jsonb_agg(jsonb_build_object('reason', reason, 'since', since, 'tasks', tasks) ORDER BY since, reason)
        FROM (
            SELECT held_for AS reason, min(held_since) AS since, count(*) AS tasks
            FROM scheduled_tasks
            WHERE merchant_id = merchants.id::text AND held_for IS NOT NULL AND status IN ('pending', 'running')
            GROUP BY held_for
        ) AS held
    ), '[]') AS attention
FROM merchants
LEFT JOIN catch_ups ON catch_ups.merchant_id = merchants.id::text
WHERE {conditions}
ORDER BY created_at DESC, id DESC
LIMIT $1
"""

MERCHANT_CONDITIONS: Mapping[str, str] = {"id": "id = ?", "before": "(created_at, id) < (?, ?)"}


def select_merchants(limit: int, merchant_id: UUID | None = None, before: ByTime | None = None) -> Select:
    """Merchants, newest first."""
    return narrowed(LIST_MERCHANTS, [limit], MERCHANT_CONDITIONS, {"id": merchant_id, "before": before})
