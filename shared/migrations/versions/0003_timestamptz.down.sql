ALTER TABLE daily_metrics ALTER COLUMN metric_date SET DEFAULT current_date;

ALTER TABLE processed_events
    ALTER COLUMN processed_at DROP DEFAULT,
    ALTER COLUMN processed_at TYPE timestamp USING processed_at AT TIME ZONE 'UTC',
    ALTER COLUMN processed_at SET DEFAULT now();

ALTER TABLE usage_logs
    ALTER COLUMN created_at DROP DEFAULT,
    ALTER COLUMN created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC',
    ALTER COLUMN created_at SET DEFAULT now();

ALTER TABLE scheduled_tasks
    ALTER COLUMN created_at DROP DEFAULT,
    ALTER COLUMN created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC',
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN run_at DROP DEFAULT,
    ALTER COLUMN run_at TYPE timestamp USING run_at AT TIME ZONE 'UTC',
    ALTER COLUMN run_at SET DEFAULT now();

ALTER TABLE merchants
    ALTER COLUMN created_at DROP DEFAULT,
    ALTER COLUMN created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC',
    ALTER COLUMN created_at SET DEFAULT now();

DROP FUNCTION citadel_now();
DROP TABLE test_clock;
