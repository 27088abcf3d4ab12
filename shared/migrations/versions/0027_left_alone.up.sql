-- Customers and subscriptions that are left alone: no attempt, no message and no end action, for a time or for good.
-- lint: the indexes are of a table that is made here.
-- squawk-ignore-file require-concurrent-index-creation

CREATE TABLE left_alone (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    merchant_id text NOT NULL,
    customer_id text,
    subscription_id text,
    until timestamptz,  -- NULL: for good
    reason text NOT NULL,  -- a code of shared.recovery_model.OperatorReason
    created_at timestamptz NOT NULL DEFAULT citadel_now(),
    CONSTRAINT left_alone_of_one CHECK ((customer_id IS NULL) <> (subscription_id IS NULL))
);
CREATE UNIQUE INDEX left_alone_customer ON left_alone (merchant_id, customer_id) WHERE customer_id IS NOT NULL;
CREATE UNIQUE INDEX left_alone_subscription ON left_alone (merchant_id, subscription_id)
    WHERE subscription_id IS NOT NULL;
CREATE INDEX left_alone_listed ON left_alone (merchant_id, created_at DESC, id DESC);
CREATE INDEX left_alone_newest ON left_alone (created_at DESC, id DESC);
CREATE INDEX left_alone_over ON left_alone (until) WHERE until IS NOT NULL;

-- Every dossier and every permission reads them; the janitor deletes those that are long over.
GRANT SELECT, DELETE ON left_alone TO citadel_worker;
GRANT SELECT, INSERT, DELETE ON left_alone TO citadel_ledger;
GRANT UPDATE (until, reason) ON left_alone TO citadel_ledger;

-- An operator's stop takes effect in the transaction of the request: the recovery ends, its timeline and the book say so,
-- and while an attempt is in flight a task finds out how that one ends (`request_stop` in shared/recoveries.py).
GRANT UPDATE (state, end_reason, stop_requested, amount_recovered, recovered_by, next_attempt_at, closed_at, updated_at)
    ON recoveries TO citadel_ledger;
GRANT SELECT ON recovery_transitions TO citadel_ledger;
GRANT INSERT ON recovery_timeline TO citadel_ledger;
GRANT INSERT (currency, recovery_id, nth_end, external_id) ON usage_logs TO citadel_ledger;
GRANT INSERT (recovery_id) ON scheduled_tasks TO citadel_ledger;

-- The platform's default as a document of schema 4, which also says whether invoices of subscriptions that end are
-- collected. It is in force where the default of schema 3 (migration 0021) was; recoveries in flight stay on theirs.
UPDATE policies
SET active = false
WHERE id = (
        SELECT id
        FROM policies
        WHERE merchant_id IS NULL AND document ->> 'schema_version' = '3'
        ORDER BY version
        LIMIT 1
    )
    AND active;

INSERT INTO policies (merchant_id, version, active, note, document)
SELECT NULL, max(version) + 1, false, 'The default, as a document of schema 4', (
    SELECT document
    FROM policies
    WHERE merchant_id IS NULL AND document ->> 'schema_version' = '3'
    ORDER BY version
    LIMIT 1
) || '{"schema_version": 4, "collect_ending": true}'
FROM policies
WHERE merchant_id IS NULL
HAVING NOT bool_or(document ->> 'schema_version' = '4');

UPDATE policies
SET active = true, activated_at = citadel_now()
WHERE id = (
        SELECT id
        FROM policies
        WHERE merchant_id IS NULL AND document ->> 'schema_version' = '4'
        ORDER BY version
        LIMIT 1
    )
    AND NOT EXISTS (SELECT FROM policies AS other WHERE other.merchant_id IS NULL AND other.active);
