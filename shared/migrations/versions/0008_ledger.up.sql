-- The ledger: usage_logs is the book, daily_metrics and merchant_totals are kept from it by a statement-level trigger.
-- lint: part of the first release, runs before the first traffic, so a short exclusive lock is of no account.
-- squawk-ignore-file adding-field-with-default, prefer-bigint-over-int, constraint-missing-not-valid, require-concurrent-index-creation

ALTER TABLE usage_logs
    ADD COLUMN public_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN currency text,
    ADD COLUMN recovery_id uuid,
    ADD COLUMN customer_id text;

-- A recovery is opened once and ends once: money cannot enter the book twice.
CREATE UNIQUE INDEX usage_logs_recovery_once ON usage_logs (recovery_id, (metric_type = 'recovery_opened'))
    WHERE metric_type IN ('recovery_opened', 'recovery_recovered', 'recovery_exhausted', 'recovery_stopped');
CREATE INDEX usage_logs_merchant ON usage_logs (merchant_id, id);

CREATE INDEX daily_metrics_days ON daily_metrics (metric_date);

CREATE FUNCTION fold_usage_into_metrics() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
BEGIN
    -- Sorted by key, so that two statements never lock two rows in opposite orders.
    INSERT INTO public.daily_metrics AS d (
        merchant_id, metric_date, currency, failed_cents, failed_count, recovered_cents, recovered_count,
        exhausted_cents, exhausted_count, stopped_cents, stopped_count, attempt_count, message_count)
    SELECT
        merchant_id,
        (created_at AT TIME ZONE 'UTC')::date,
        currency,
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_opened'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_opened'),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_recovered'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_recovered'),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_exhausted'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_exhausted'),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_stopped'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_stopped'),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'attempt'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'message'), 0)
    FROM new_rows
    WHERE recovery_id IS NOT NULL
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
    ON CONFLICT (merchant_id, metric_date, currency) DO UPDATE SET
        failed_cents = d.failed_cents + excluded.failed_cents,
        failed_count = d.failed_count + excluded.failed_count,
        recovered_cents = COALESCE(d.recovered_cents, 0) + excluded.recovered_cents,
        recovered_count = d.recovered_count + excluded.recovered_count,
        exhausted_cents = d.exhausted_cents + excluded.exhausted_cents,
        exhausted_count = d.exhausted_count + excluded.exhausted_count,
        stopped_cents = d.stopped_cents + excluded.stopped_cents,
        stopped_count = d.stopped_count + excluded.stopped_count,
        attempt_count = d.attempt_count + excluded.attempt_count,
        message_count = d.message_count + excluded.message_count;

    INSERT INTO public.merchant_totals AS t (
        merchant_id, currency, failed_cents, failed_count, recovered_cents, recovered_count,
        exhausted_cents, exhausted_count, stopped_cents, stopped_count, attempt_count, message_count)
    SELECT
        merchant_id,
        currency,
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_opened'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_opened'),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_recovered'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_recovered'),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_exhausted'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_exhausted'),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_stopped'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_stopped'),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'attempt'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'message'), 0)
    FROM new_rows
    WHERE recovery_id IS NOT NULL
    GROUP BY 1, 2
    ORDER BY 1, 2
    ON CONFLICT (merchant_id, currency) DO UPDATE SET
        failed_cents = t.failed_cents + excluded.failed_cents,
        failed_count = t.failed_count + excluded.failed_count,
        recovered_cents = t.recovered_cents + excluded.recovered_cents,
        recovered_count = t.recovered_count + excluded.recovered_count,
        exhausted_cents = t.exhausted_cents + excluded.exhausted_cents,
        exhausted_count = t.exhausted_count + excluded.exhausted_count,
        stopped_cents = t.stopped_cents + excluded.stopped_cents,
        stopped_count = t.stopped_count + excluded.stopped_count,
        attempt_count = t.attempt_count + excluded.attempt_count,
        message_count = t.message_count + excluded.message_count;
    RETURN NULL;
END $$;

CREATE TRIGGER usage_logs_fold
    AFTER INSERT ON usage_logs
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION fold_usage_into_metrics();

-- A number about a recovery is money of one currency.
ALTER TABLE usage_logs
    ADD CONSTRAINT usage_logs_recovery_has_currency CHECK (recovery_id IS NULL OR currency IS NOT NULL) NOT VALID;
ALTER TABLE usage_logs VALIDATE CONSTRAINT usage_logs_recovery_has_currency;

-- What a write through the API answered, kept so that a repeat with the same Idempotency-Key answers the same.
CREATE TABLE idempotency_keys (
    api_key_id uuid NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    response_status integer NOT NULL,
    response_body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT citadel_now(),
    PRIMARY KEY (api_key_id, key)
);
