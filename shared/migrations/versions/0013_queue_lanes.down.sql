-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_finished;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_parked;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_one_per_recovery;
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_lanes;
