-- `serial` ends after 25 days at 1,000 inserts a second, and `int` cents end at 21 million in a major unit.
-- Rewrites both tables under an exclusive lock: meant to run before the first traffic, as `citadel migrate` does.
-- lint: part of the first release, runs before the first traffic, so a short exclusive lock is of no account.
-- squawk-ignore-file changing-column-type

ALTER TABLE scheduled_tasks ALTER COLUMN id TYPE bigint;
ALTER SEQUENCE scheduled_tasks_id_seq AS bigint;

ALTER TABLE usage_logs
    ALTER COLUMN id TYPE bigint,
    ALTER COLUMN amount TYPE bigint;
ALTER SEQUENCE usage_logs_id_seq AS bigint;
