-- no transaction
-- An end that was taken back goes, with the row that takes it back; of several successes the first stays one.
DELETE FROM usage_logs AS u
USING usage_logs AS back
WHERE back.recovery_id = u.recovery_id AND back.nth_end = u.nth_end AND back.metric_type = u.metric_type
    AND back.amount < 0
    AND u.metric_type IN ('recovery_recovered', 'recovery_exhausted', 'recovery_stopped');
UPDATE attempts AS a
SET result = 'failed'
WHERE result = 'succeeded' AND origin = 'stripe'
    AND EXISTS (
        SELECT FROM attempts AS other
        WHERE other.recovery_id = a.recovery_id AND other.result = 'succeeded' AND other.id <> a.id
            AND (other.origin = 'citadel' OR other.number < a.number)
    );
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS usage_logs_recovery_once
    ON usage_logs (recovery_id, (metric_type = 'recovery_opened'))
    WHERE metric_type IN ('recovery_opened', 'recovery_recovered', 'recovery_exhausted', 'recovery_stopped');
DROP INDEX CONCURRENTLY IF EXISTS usage_logs_end_once;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS attempts_one_success ON attempts (recovery_id) WHERE result = 'succeeded';
DROP INDEX CONCURRENTLY IF EXISTS attempts_one_success_of_ours;
