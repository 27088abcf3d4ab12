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
-- and while an attempt is in flight a task finds out how that one ends (`request_stop` in shared/recovery_stops.py).
GRANT UPDATE (state, end_reason, stop_requested, amount_recovered, recovered_by, next_attempt_at, closed_at, updated_at)
    ON recoveries TO citadel_ledger;
GRANT SELECT ON recovery_transitions TO citadel_ledger;
GRANT INSERT ON recovery_timeline TO citadel_ledger;
GRANT INSERT (currency, recovery_id, nth_end, external_id) ON usage_logs TO citadel_ledger;
GRANT INSERT (recovery_id) ON scheduled_tasks TO citadel_ledger;
