-- The queue's columns. A task's life:
--
--   pending ──claim──> running ──complete──> succeeded
--      ^                  │ │
--      └──retry, release──┘ ├──attempts used up, or no use in trying──> dead ──retry by the API──> pending
--      └──cancel──> canceled (a dead one too) ──retry by the API──> pending
--
-- `fence` rises with every claim; a completion must name the fence it was claimed under.
-- Leases are real time (clock_timestamp()); run_at is business time (citadel_now()).
-- lint: part of the first release, runs before the first traffic, so a short exclusive lock is of no account.
-- squawk-ignore-file adding-field-with-default, adding-not-nullable-field, prefer-bigint-over-int, constraint-missing-not-valid

ALTER TABLE scheduled_tasks
    ADD COLUMN public_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN recovery_id uuid,
    ADD COLUMN unique_key text,
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN max_attempts integer NOT NULL DEFAULT 10,
    ADD COLUMN fence bigint NOT NULL DEFAULT 0,
    ADD COLUMN locked_by text,
    ADD COLUMN lease_expires_at timestamptz,
    ADD COLUMN started_at timestamptz,
    ADD COLUMN finished_at timestamptz,
    ADD COLUMN last_error text,
    ALTER COLUMN status SET NOT NULL,
    ALTER COLUMN run_at SET NOT NULL,
    ALTER COLUMN created_at SET NOT NULL;

ALTER TABLE scheduled_tasks
    ADD CONSTRAINT scheduled_tasks_status_known
    CHECK (status IN ('pending', 'running', 'succeeded', 'dead', 'canceled')) NOT VALID;
ALTER TABLE scheduled_tasks VALIDATE CONSTRAINT scheduled_tasks_status_known;

ALTER TABLE scheduled_tasks
    ADD CONSTRAINT scheduled_tasks_running_is_leased
    CHECK (status <> 'running' OR (locked_by IS NOT NULL AND lease_expires_at IS NOT NULL)) NOT VALID;
ALTER TABLE scheduled_tasks VALIDATE CONSTRAINT scheduled_tasks_running_is_leased;

-- Rows are updated in place several times: leave them room for HOT updates.
ALTER TABLE scheduled_tasks SET (fillfactor = 80);

-- Work that must happen now and then, once however many workers run. A worker that finds a row due moves
-- next_run_at on in the transaction that does or enqueues the work.
CREATE TABLE periodic_tasks (
    name text PRIMARY KEY,
    every interval NOT NULL CHECK (every > interval '0'),
    next_run_at timestamptz NOT NULL DEFAULT citadel_now(),
    last_run_at timestamptz
);
