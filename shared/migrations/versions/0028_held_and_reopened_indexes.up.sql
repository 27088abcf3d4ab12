-- no transaction: every index is built concurrently, so that traffic goes on meanwhile
-- lint: this file runs outside a transaction (first line).
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- Held tasks are few: only they are in it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_held
    ON scheduled_tasks (merchant_id, held_for) WHERE held_for IS NOT NULL AND status IN ('pending', 'running');

-- A recovery is opened once, and ends once for each time that it was opened: money cannot enter the book twice.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS usage_logs_recovery_end_once
    ON usage_logs (recovery_id, (metric_type = 'recovery_opened'), reopenings)
    WHERE metric_type IN ('recovery_opened', 'recovery_recovered', 'recovery_exhausted', 'recovery_stopped');
DROP INDEX CONCURRENTLY IF EXISTS usage_logs_recovery_once;
