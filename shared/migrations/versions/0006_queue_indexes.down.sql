-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_merchant;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_public_id;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_dead;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_merchant_due;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_of_recovery;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_unique_key;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_running;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_due;
