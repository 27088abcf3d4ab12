"""The SQL of the report on recoveries and of their export.

Both group a recovery as it was drawn: by the policy version that it was opened under (`opened_policy_id`, or
`policy_id` when it was never moved) with that version's holdout share, and by the cause of the first decline. Later
versions and declines are results of the treatment and must not decide the group.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from services.ledger.api.select import Select, narrowed
from services.ledger.recoveries.store import RECOVERY_CONDITIONS, RECOVERY_STATE, TAKEN_BACK
from shared.ids import MerchantId
from shared.recovery_model import RecoveryState

GroupBy = Literal["cause", "policy_version", "currency", "cohort_week", "attribution"]

# Who paid; `taken_back`: nothing is left of it, because it was refunded or disputed. A success of Stripe's own retry
# has an attempt's row, if Stripe had announced that attempt.
_NET = "r.amount_recovered - back.refunded - back.disputed + back.won_back"
_ATTRIBUTION = f"""CASE
        WHEN r.recovered_by IS NOT NULL AND {_NET} <= 0 THEN 'taken_back'
        WHEN r.recovered_by IS NOT NULL THEN r.recovered_by
        WHEN r.end_reason = 'paid_elsewhere' THEN CASE
            WHEN EXISTS (
                SELECT FROM attempts AS a
                WHERE a.recovery_id = r.id AND a.result = 'succeeded' AND a.origin = 'stripe'
            ) THEN 'stripe'
            ELSE 'customer'
        END
        WHEN r.closed_at IS NULL THEN 'open'
        ELSE 'unpaid'
    END"""

# Rows from before the column `first_cause` have the last cause only.
_CAUSE = "COALESCE(r.first_cause, r.decline_cause)"
_WEEK = "date_trunc('week', r.opened_at AT TIME ZONE 'UTC')::date"

# A version's holdout share, and its longest window over all segments, because the segment is known only later.
_VERSION = """p.id,
        p.version,
        p.merchant_id IS NULL AS of_platform,
        COALESCE((p.document ->> 'holdout_share')::float8, 0) AS share,
        make_interval(days => greatest(
            COALESCE((p.document ->> 'window_days')::integer, 21),
            (SELECT max((s.segment -> 'then' ->> 'window_days')::integer)
             FROM jsonb_array_elements(COALESCE(p.document -> 'segments', '[]')) AS s (segment))
        )) AS longest"""

_GROUPS: Mapping[GroupBy | None, str] = {
    None: "'all'",
    "cause": _CAUSE,
    "policy_version": "o.id::text",
    "currency": "r.currency",
    "cohort_week": f"{_WEEK}::text",
    "attribution": _ATTRIBUTION,
}

REPORT = f"""
WITH versions AS MATERIALIZED (
    SELECT
        {_VERSION}
    FROM policies AS p
    WHERE {{versions}}
)
SELECT
    {{group}} AS "group",
    CASE WHEN {{by_version}} THEN o.version END AS version,
    CASE WHEN {{by_version}} THEN o.of_platform END AS of_platform,
    r.currency,
    o.share,
    o.share > 0 AND citadel_in_holdout(o.share, r.invoice_id) AS holdout,
    {_ATTRIBUTION} AS attribution,
    r.opened_at + greatest(o.longest, n.longest) > clock.now AS young,
    count(*) AS count,
    sum(r.amount_due)::bigint AS due,
    sum({_NET})::bigint AS recovered,
    sum(back.refunded)::bigint AS refunded,
    sum(back.disputed - back.won_back)::bigint AS disputed
FROM (SELECT * FROM recoveries WHERE opened_at >= $1 AND opened_at < $2 AND {{conditions}}) AS r
{TAKEN_BACK}
JOIN versions AS o ON o.id = COALESCE(r.opened_policy_id, r.policy_id)
JOIN versions AS n ON n.id = r.policy_id
CROSS JOIN (SELECT citadel_now() AS now) AS clock
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""  # noqa: S608 - constants of this file

EXPORT_COLUMNS = (
    "id",
    "merchant_id",
    "invoice_id",
    "subscription_id",
    "customer_id",
    "state",
    "end_reason",
    "attribution",
    "assigned_to",
    "currency",
    "amount_due",
    "amount_recovered",
    "amount_refunded",
    "amount_disputed",
    "amount_won_back",
    "first_cause",
    "last_cause",
    "policy_id",
    "policy_version",
    "cohort_week",
    "opened_at",
    "window_ends_at",
    "closed_at",
    "attempts",
    "stripe_attempts",
    "messages",
    "card_warned_at",
)

# Versions are looked up row by row (OFFSET 0 prevents a join), so that rows come in the index's order and the first one
# comes at once, however many follow.
EXPORT = f"""
SELECT
    r.id,
    r.merchant_id,
    r.invoice_id,
    r.subscription_id,
    r.customer_id,
    r.state,
    r.end_reason,
    {_ATTRIBUTION} AS attribution,
    CASE WHEN o.share > 0 THEN
        CASE WHEN citadel_in_holdout(o.share, r.invoice_id) THEN 'holdout' ELSE 'treatment' END
    END AS assigned_to,
    r.currency,
    r.amount_due,
    r.amount_recovered,
    back.refunded AS amount_refunded,
    back.disputed AS amount_disputed,
    back.won_back AS amount_won_back,
    {_CAUSE} AS first_cause,
    r.decline_cause AS last_cause,
    o.id AS policy_id,
    o.version AS policy_version,
    {_WEEK} AS cohort_week,
    r.opened_at,
    r.opened_at + greatest(o.longest, n.longest) AS window_ends_at,
    r.closed_at,
    (SELECT count(*) FROM attempts AS a
     WHERE a.recovery_id = r.id AND a.origin = 'citadel' AND a.result <> 'abandoned') AS attempts,
    (SELECT count(*) FROM attempts AS a
     WHERE a.recovery_id = r.id AND a.origin = 'stripe') AS stripe_attempts,
    (SELECT count(*) FROM recovery_timeline AS t
     WHERE t.recovery_id = r.id AND t.kind = 'messaged') AS messages,
    (SELECT max(w.warned_at) FROM card_warnings AS w
     WHERE w.merchant_id = r.merchant_id AND w.customer_id = r.customer_id AND w.warned_at <= r.opened_at
    ) AS card_warned_at
FROM (SELECT * FROM recoveries WHERE {{conditions}}) AS r
{TAKEN_BACK}
CROSS JOIN LATERAL (
    SELECT
        {_VERSION}
    FROM policies AS p
    WHERE p.id = COALESCE(r.opened_policy_id, r.policy_id)
    OFFSET 0
) AS o
CROSS JOIN LATERAL (
    SELECT
        {_VERSION}
    FROM policies AS p
    WHERE p.id = r.policy_id
    OFFSET 0
) AS n
ORDER BY r.opened_at DESC, r.id DESC
"""  # noqa: S608 - constants of this file


def select_report(first: datetime, until: datetime, merchant_id: MerchantId | None, group_by: GroupBy | None) -> Select:
    """Counts and sums of the recoveries opened from `first` to before `until`; one row per `Cell`."""
    by_version = "true" if group_by == "policy_version" else "false"
    statement = REPORT.replace("{group}", _GROUPS[group_by]).replace("{by_version}", by_version)
    if merchant_id is None:
        return narrowed(statement.replace("{versions}", "true"), [first, until], {}, {})
    # A merchant's recoveries may be under its own versions and the platform's.
    statement = statement.replace("{versions}", "p.merchant_id = $3 OR p.merchant_id IS NULL")
    return narrowed(statement, [first, until, merchant_id], {}, {}, "merchant_id = $3")


def select_export(state: RecoveryState | None, given: Mapping[str, Any]) -> Select:
    """A row per recovery, newest first; `given` holds values for RECOVERY_CONDITIONS."""
    return narrowed(EXPORT, [], RECOVERY_CONDITIONS, given, RECOVERY_STATE[state] if state else None)
