-- A recovery is where it was before its payment was under way, or where the money that came late found it.
UPDATE recoveries SET state = 'waiting', next_attempt_at = NULL WHERE state = 'processing';
DELETE FROM recovery_transitions
WHERE from_state = 'processing' OR to_state = 'processing' OR from_state IN ('exhausted', 'stopped', 'recovered');
UPDATE attempts SET result = 'unknown' WHERE result = 'processing';
ALTER TABLE attempts DROP CONSTRAINT attempts_result_known;
ALTER TABLE attempts ADD CONSTRAINT attempts_result_check CHECK (
    result IN ('started', 'succeeded', 'declined', 'requires_action', 'failed', 'abandoned', 'unknown')
);

-- The totals hold both rows of an end that was taken back: without the two they are the same.
ALTER TABLE usage_logs DROP COLUMN nth_end;
ALTER TABLE recovered_charges DROP COLUMN failed_at;
ALTER TABLE recoveries DROP COLUMN paid_before, DROP COLUMN stripe_attempts, DROP COLUMN ends_reversed;
ALTER TABLE catch_ups DROP COLUMN types_listed, DROP COLUMN types_done;

CREATE OR REPLACE FUNCTION fold_usage_into_metrics() RETURNS trigger
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
