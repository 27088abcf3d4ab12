DROP TABLE periodic_tasks;
ALTER TABLE scheduled_tasks RESET (fillfactor);
ALTER TABLE scheduled_tasks
    DROP CONSTRAINT scheduled_tasks_running_is_leased,
    DROP CONSTRAINT scheduled_tasks_status_known,
    DROP COLUMN public_id,
    DROP COLUMN recovery_id,
    DROP COLUMN unique_key,
    DROP COLUMN attempts,
    DROP COLUMN max_attempts,
    DROP COLUMN fence,
    DROP COLUMN locked_by,
    DROP COLUMN lease_expires_at,
    DROP COLUMN started_at,
    DROP COLUMN finished_at,
    DROP COLUMN last_error,
    ALTER COLUMN status DROP NOT NULL,
    ALTER COLUMN run_at DROP NOT NULL,
    ALTER COLUMN created_at DROP NOT NULL;
