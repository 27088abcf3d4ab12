-- no transaction
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS usage_logs_recovery_once
    ON usage_logs (recovery_id, (metric_type = 'recovery_opened'))
    WHERE metric_type IN ('recovery_opened', 'recovery_recovered', 'recovery_exhausted', 'recovery_stopped');
DROP INDEX CONCURRENTLY IF EXISTS usage_logs_recovery_end_once;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_held;
