-- no transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_due
    ON scheduled_tasks (run_at, id) WHERE status = 'pending';
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_merchant
    ON scheduled_tasks (merchant_id, id);
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_of_merchant;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_public_id
    ON scheduled_tasks (public_id);
ALTER TABLE scheduled_tasks ALTER COLUMN public_id SET DEFAULT gen_random_uuid();
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_public_id_v4;
DROP FUNCTION IF EXISTS citadel_task_number(uuid);
DROP FUNCTION IF EXISTS citadel_task_uuid(bigint);
