-- Every stored time becomes timestamptz; the old values are UTC.
-- `citadel_now()` is the business's now: the database's clock, moved by the one row of `test_clock`.
-- The table is empty in production; only the demo and the tests travel through time.
-- lint: part of the first release, runs before the first traffic, so a short exclusive lock is of no account.
-- squawk-ignore-file changing-column-type, ban-drop-default

CREATE TABLE test_clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    clock_offset interval NOT NULL
);
COMMENT ON TABLE test_clock IS 'Empty in production. One row moves the business''s now for every process at once.';

CREATE FUNCTION citadel_now() RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT now() + COALESCE((SELECT clock_offset FROM public.test_clock), interval '0') $$;

-- The defaults go first: a timestamp default cannot be cast in the same statement that changes the type.
ALTER TABLE merchants
    ALTER COLUMN created_at DROP DEFAULT,
    ALTER COLUMN created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC',
    ALTER COLUMN created_at SET DEFAULT citadel_now();

ALTER TABLE scheduled_tasks
    ALTER COLUMN run_at DROP DEFAULT,
    ALTER COLUMN run_at TYPE timestamptz USING run_at AT TIME ZONE 'UTC',
    ALTER COLUMN run_at SET DEFAULT citadel_now(),
    ALTER COLUMN created_at DROP DEFAULT,
    ALTER COLUMN created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC',
    ALTER COLUMN created_at SET DEFAULT citadel_now();

ALTER TABLE usage_logs
    ALTER COLUMN created_at DROP DEFAULT,
    ALTER COLUMN created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC',
    ALTER COLUMN created_at SET DEFAULT citadel_now();

ALTER TABLE processed_events
    ALTER COLUMN processed_at DROP DEFAULT,
    ALTER COLUMN processed_at TYPE timestamptz USING processed_at AT TIME ZONE 'UTC',
    ALTER COLUMN processed_at SET DEFAULT citadel_now();

ALTER TABLE daily_metrics
    ALTER COLUMN metric_date SET DEFAULT (citadel_now() AT TIME ZONE 'UTC')::date;
