-- The function of 0023, for which what is recovered is gross. The book keeps its rows about money taken back.
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
        COALESCE(sum(CASE WHEN amount < 0 THEN -1 ELSE 1 END) FILTER (WHERE metric_type = 'recovery_recovered'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_exhausted'), 0),
        COALESCE(sum(CASE WHEN amount < 0 THEN -1 ELSE 1 END) FILTER (WHERE metric_type = 'recovery_exhausted'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_stopped'), 0),
        COALESCE(sum(CASE WHEN amount < 0 THEN -1 ELSE 1 END) FILTER (WHERE metric_type = 'recovery_stopped'), 0),
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
        COALESCE(sum(CASE WHEN amount < 0 THEN -1 ELSE 1 END) FILTER (WHERE metric_type = 'recovery_recovered'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_exhausted'), 0),
        COALESCE(sum(CASE WHEN amount < 0 THEN -1 ELSE 1 END) FILTER (WHERE metric_type = 'recovery_exhausted'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_stopped'), 0),
        COALESCE(sum(CASE WHEN amount < 0 THEN -1 ELSE 1 END) FILTER (WHERE metric_type = 'recovery_stopped'), 0),
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

UPDATE merchant_totals
SET recovered_cents = recovered_cents + refunded_cents + disputed_cents - won_back_cents
WHERE refunded_cents <> 0 OR disputed_cents <> 0 OR won_back_cents <> 0;
UPDATE daily_metrics
SET recovered_cents = recovered_cents + refunded_cents + disputed_cents - won_back_cents
WHERE refunded_cents <> 0 OR disputed_cents <> 0 OR won_back_cents <> 0;

ALTER TABLE merchant_totals
    DROP COLUMN refunded_cents,
    DROP COLUMN disputed_cents,
    DROP COLUMN won_back_cents;
ALTER TABLE daily_metrics
    DROP COLUMN refunded_cents,
    DROP COLUMN disputed_cents,
    DROP COLUMN won_back_cents;
ALTER TABLE usage_logs DROP COLUMN external_id;
REVOKE UPDATE (refunded, disputed, won_back) ON recovered_charges FROM citadel_ingress, citadel_worker;
ALTER TABLE recovered_charges
    DROP COLUMN refunded,
    DROP COLUMN disputed,
    DROP COLUMN won_back;
DROP TABLE money_back;
