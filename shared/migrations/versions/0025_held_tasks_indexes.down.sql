-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_held;
