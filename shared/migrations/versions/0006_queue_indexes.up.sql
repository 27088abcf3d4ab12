-- no transaction: every index is built concurrently, so that traffic goes on meanwhile
-- lint: this file runs outside a transaction (first line).
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- The claim: due tasks in order, past neither running nor finished rows.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_due
    ON scheduled_tasks (run_at, id) WHERE status = 'pending';
-- The rescue and a worker's own tasks. lease_expires_at stays out of every index: renewals must be HOT.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_running
    ON scheduled_tasks (locked_by) WHERE status = 'running';
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_unique_key
    ON scheduled_tasks (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'running');
-- A stop cancels every pending task of one recovery; the API lists them all.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_of_recovery
    ON scheduled_tasks (recovery_id, id) WHERE recovery_id IS NOT NULL;
-- One merchant's waiting tasks and dead letters, past its finished ones: small, because both are few.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_merchant_due
    ON scheduled_tasks (merchant_id, run_at, id) WHERE status = 'pending';
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_dead
    ON scheduled_tasks (merchant_id, id) WHERE status = 'dead';
-- The API: one task by the id that leaves the database, and a merchant's tasks, newest first.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_public_id
    ON scheduled_tasks (public_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_merchant
    ON scheduled_tasks (merchant_id, id);
