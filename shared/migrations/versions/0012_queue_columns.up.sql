-- What the engine needs beside the queue's rows: pauses, the spacing of calls, and who waits for work.
-- lint: constants as defaults change the catalogue only (PostgreSQL 11 and later), so the lock is short.
-- squawk-ignore-file adding-field-with-default, adding-not-nullable-field, prefer-bigint-over-smallint

ALTER TABLE scheduled_tasks
    -- pending, and not handed out: its type or its merchant is paused
    ADD COLUMN parked boolean NOT NULL DEFAULT false,
    -- how often it was in the hands of a worker that fell silent: what may be poisoned runs apart from the rest
    ADD COLUMN rescues smallint NOT NULL DEFAULT 0;

-- Each row is updated twice in its life: a vacuum that rests falls behind.
ALTER TABLE scheduled_tasks SET (autovacuum_vacuum_cost_delay = 0);

-- A type, a merchant, or one type of one merchant that is not handed out.
CREATE TABLE queue_pauses (
    merchant_id text,
    task_type text,
    reason text NOT NULL DEFAULT '',
    paused_at timestamptz NOT NULL DEFAULT citadel_now(),
    CONSTRAINT queue_pauses_of_something CHECK (merchant_id IS NOT NULL OR task_type IS NOT NULL),
    CONSTRAINT queue_pauses_once UNIQUE NULLS NOT DISTINCT (merchant_id, task_type)
);

-- The spacing of calls: the earliest moment (real time) that is not given away yet. `account = ''`: all together.
CREATE TABLE call_rates (
    remote text NOT NULL,
    account text NOT NULL,
    next_call_at timestamptz NOT NULL,
    PRIMARY KEY (remote, account)
) WITH (fillfactor = 50);

-- Workers that wait for a hint. Only while there is one does an insert of due tasks notify: NOTIFY takes a lock of the
-- whole database at the commit, which a busy queue must not pay.
CREATE TABLE idle_workers (
    name text PRIMARY KEY,
    until timestamptz NOT NULL  -- real time: a worker that died is not waited on for ever
) WITH (fillfactor = 50);

CREATE FUNCTION hint_at_new_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.idle_workers WHERE until > clock_timestamp())
        AND EXISTS (SELECT FROM added WHERE run_at <= public.citadel_now())
    THEN
        PERFORM pg_notify('citadel_tasks', '');
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER scheduled_tasks_hint
    AFTER INSERT ON scheduled_tasks
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT
    EXECUTE FUNCTION hint_at_new_tasks();

GRANT SELECT ON idle_workers TO citadel_ingress, citadel_auth, citadel_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON idle_workers, call_rates TO citadel_worker;
GRANT SELECT ON queue_pauses TO citadel_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON queue_pauses TO citadel_ledger;
GRANT UPDATE (parked, rescues) ON scheduled_tasks TO citadel_ledger;
