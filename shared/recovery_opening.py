"""How recoveries open: once for an invoice, under the policy in force.

With its first timeline entry, its ledger row and its first evaluation, for many at once. What happens to a recovery
from then on is in `recoveries` and `recovery_stops`.
"""

from collections.abc import Sequence

import orjson

from shared.database import Connection
from shared.ids import RecoveryId
from shared.queue.tries import tries_of
from shared.recovery_model import COLLECTION_OFF, BillingReason, Entry, EntryKind, FailedInvoice
from shared.recovery_tasks import EVALUATE, key_of

# Pins the policy in force: the merchant's own active one, else the platform's. In the order of the unique key, so that
# two transactions that open the same recoveries do not deadlock.
OPEN = """
INSERT INTO recoveries
    (merchant_id, invoice_id, subscription_id, customer_id, amount_due, currency, paid_before, policy_id)
SELECT f.merchant_id, f.invoice_id, f.subscription_id, f.customer_id, f.amount, f.currency, f.paid_before, p.id
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $9::bigint[])
    AS f (merchant_id, invoice_id, subscription_id, customer_id, amount, currency, billing_reason, paid_before)
CROSS JOIN LATERAL (
    SELECT id, document
    FROM policies
    WHERE active AND (merchant_id = f.merchant_id OR merchant_id IS NULL)
    ORDER BY merchant_id NULLS LAST
    LIMIT 1
) AS p
-- Documents from before schema 3 collect renewals only.
WHERE COALESCE(p.document -> 'billing_reasons', CASE
    WHEN p.document ->> 'schema_version' IN ('1', '2') THEN '["subscription_cycle"]'::jsonb
    ELSE $8::jsonb
END) ? f.billing_reason
ORDER BY f.merchant_id, f.invoice_id
ON CONFLICT (merchant_id, invoice_id) DO NOTHING
RETURNING id, merchant_id, invoice_id
"""

ANY_WITHOUT_POLICY = """
SELECT EXISTS (
    SELECT
    FROM unnest($1::text[]) AS f (merchant_id)
    WHERE NOT EXISTS (
        SELECT FROM policies AS p WHERE p.active AND (p.merchant_id = f.merchant_id OR p.merchant_id IS NULL)
    )
)
"""

# The first timeline entry, ledger row and evaluation of recoveries that were opened just now.
BEGIN_OPENED = """
WITH opened AS MATERIALIZED (
    SELECT *
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::timestamptz[], $12::text[])
        AS o (id, merchant_id, invoice_id, amount, currency, kind, rule, explanation, detail, next_step, next_at,
            task_key)
),
told AS (
    INSERT INTO recovery_timeline
        (recovery_id, merchant_id, kind, to_state, rule, explanation, detail, next_step, next_at)
    SELECT id, merchant_id, kind, 'open', rule, explanation, detail::jsonb, next_step, next_at
    FROM opened
    RETURNING recovery_id
),
turned_off AS (
    INSERT INTO recovery_timeline (recovery_id, merchant_id, kind, rule, explanation, detail)
    SELECT o.id, o.merchant_id, $15, $16, $17, jsonb_build_object('event_id', t.event_id)
    FROM told
    JOIN opened AS o ON o.id = told.recovery_id
    JOIN collection_turned_off AS t USING (merchant_id, invoice_id)
),
queued AS (
    INSERT INTO scheduled_tasks (merchant_id, task_type, payload, recovery_id, unique_key, max_attempts)
    SELECT merchant_id, $13, jsonb_build_object('invoice_id', invoice_id), id, task_key, $14
    FROM opened
    ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'running') DO NOTHING
)
INSERT INTO usage_logs (merchant_id, metric_type, amount, currency, recovery_id)
SELECT merchant_id, 'recovery_opened', amount, currency, id
FROM opened
"""


async def open_recoveries(db: Connection, failures: Sequence[tuple[FailedInvoice, Entry]]) -> list[RecoveryId]:
    """Open recoveries under the policies in force and queue their first evaluations; the ids of the opened ones.

    In two statements, however many. Invoices of a kind that the policy does not collect are left out. A second event
    about one failed invoice, in whatever order and under whatever id, changes nothing. Locks in one order whatever the
    order of `failures`: the recoveries by merchant and invoice, then the totals. Raises LookupError when no policy is
    active, which a migrated database always has: nothing is opened without rules.
    """
    first = {(failed.merchant_id, failed.invoice_id): (failed, entry) for failed, entry in reversed(failures)}
    merchants, invoices = [key[0] for key in first], [key[1] for key in first]
    rows = await db.fetch(
        OPEN,
        merchants,
        invoices,
        [failed.subscription_id for failed, _ in first.values()],
        [failed.customer_id for failed, _ in first.values()],
        [failed.amount.amount for failed, _ in first.values()],
        [failed.amount.currency for failed, _ in first.values()],
        [failed.billing_reason for failed, _ in first.values()],
        list(BillingReason),
        [failed.paid_before for failed, _ in first.values()],
    )
    if len(rows) < len(first) and await db.fetchval(ANY_WITHOUT_POLICY, merchants):
        raise LookupError("no policy is active: run `citadel migrate`, which makes the platform's default")
    if rows:
        await _begin(db, [(row["id"], *first[row["merchant_id"], row["invoice_id"]]) for row in rows])
    return [row["id"] for row in rows]


async def _begin(db: Connection, opened: Sequence[tuple[RecoveryId, FailedInvoice, Entry]]) -> None:
    await db.execute(
        BEGIN_OPENED,
        [recovery_id for recovery_id, _, _ in opened],
        [failed.merchant_id for _, failed, _ in opened],
        [failed.invoice_id for _, failed, _ in opened],
        [failed.amount.amount for _, failed, _ in opened],
        [failed.amount.currency for _, failed, _ in opened],
        [entry.kind for _, _, entry in opened],
        [entry.rule for _, _, entry in opened],
        [entry.explanation for _, _, entry in opened],
        [orjson.dumps(dict(entry.detail)).decode() for _, _, entry in opened],
        [entry.next_step for _, _, entry in opened],
        [entry.next_at for _, _, entry in opened],
        [key_of(EVALUATE, recovery_id) for recovery_id, _, _ in opened],
        EVALUATE,
        tries_of(EVALUATE),
        EntryKind.CHANGED,
        COLLECTION_OFF,
        "The merchant had turned automatic collection of the invoice off before.",
    )
