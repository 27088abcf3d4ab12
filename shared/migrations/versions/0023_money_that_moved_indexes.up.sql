-- no transaction: every index is built concurrently, so that traffic goes on meanwhile
-- lint: this file runs outside a transaction (first line).
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

ALTER TABLE attempts VALIDATE CONSTRAINT attempts_result_known;

-- A recovery is opened once, and each of its ends is booked once and taken back once: money cannot enter the book twice.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS usage_logs_end_once
    ON usage_logs (recovery_id, (metric_type = 'recovery_opened'), nth_end, (amount < 0))
    WHERE metric_type IN ('recovery_opened', 'recovery_recovered', 'recovery_exhausted', 'recovery_stopped');
DROP INDEX CONCURRENTLY IF EXISTS usage_logs_recovery_once;

-- Others may pay in several parts; of ours at most one attempt ever succeeds.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS attempts_one_success_of_ours
    ON attempts (recovery_id) WHERE result = 'succeeded' AND origin = 'citadel';
DROP INDEX CONCURRENTLY IF EXISTS attempts_one_success;
