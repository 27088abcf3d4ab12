-- What Stripe refuses for the sake of a key or of an account holds tasks and ends nothing; a merchant that connects again
-- has its recoveries opened again; and a window is longer when nobody could do anything in it.
-- lint: constants as defaults change the catalogue only (PostgreSQL 11 and later), so the locks are short.
-- squawk-ignore-file adding-field-with-default, adding-not-nullable-field, prefer-bigint-over-smallint

ALTER TABLE scheduled_tasks
    ADD COLUMN held_for text,  -- why Stripe lets nobody do it now, a services.worker.errors.Hold; NULL: it is not held
    ADD COLUMN held_since timestamptz;

ALTER TABLE recoveries
    ADD COLUMN window_until timestamptz,  -- the window's end, where it is later than the policy's days say
    ADD COLUMN reopenings smallint NOT NULL DEFAULT 0;

INSERT INTO recovery_transitions (from_state, to_state) VALUES ('stopped', 'open');

-- A recovery that was opened again has another end. `reopenings` says which end a row belongs to, so that each can be in
-- the book once only; the end before is taken back by a row `recovery_reopened` with its amount below zero.
ALTER TABLE usage_logs ADD COLUMN reopenings smallint NOT NULL DEFAULT 0;

CREATE FUNCTION fold_reopenings_into_metrics() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
BEGIN
    UPDATE public.daily_metrics AS d
    SET stopped_cents = d.stopped_cents + n.amount, stopped_count = d.stopped_count - n.count
    FROM (
        SELECT merchant_id, (created_at AT TIME ZONE 'UTC')::date AS day, currency, sum(amount) AS amount, count(*)
        FROM new_rows
        WHERE metric_type = 'recovery_reopened'
        GROUP BY 1, 2, 3
    ) AS n
    WHERE d.merchant_id = n.merchant_id AND d.metric_date = n.day AND d.currency = n.currency;

    UPDATE public.merchant_totals AS t
    SET stopped_cents = t.stopped_cents + n.amount, stopped_count = t.stopped_count - n.count
    FROM (
        SELECT merchant_id, currency, sum(amount) AS amount, count(*)
        FROM new_rows
        WHERE metric_type = 'recovery_reopened'
        GROUP BY 1, 2
    ) AS n
    WHERE t.merchant_id = n.merchant_id AND t.currency = n.currency;
    RETURN NULL;
END $$;

-- After usage_logs_fold, by its name: that one makes the rows.
CREATE TRIGGER usage_logs_fold_reopenings
    AFTER INSERT ON usage_logs
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION fold_reopenings_into_metrics();

-- Auth opens again what was stopped when a merchant left.
GRANT UPDATE (reopenings) ON recoveries TO citadel_auth;
GRANT SELECT (id, document) ON policies TO citadel_auth;
