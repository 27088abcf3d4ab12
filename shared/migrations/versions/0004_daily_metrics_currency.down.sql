DROP TABLE merchant_totals;

-- The old key has no room for a second currency of the same day: the cents of all of them are folded into one row,
-- because a downgrade must not lose rows. Development only.
CREATE TEMPORARY TABLE folded ON COMMIT DROP AS
    SELECT merchant_id, metric_date, sum(recovered_cents)::bigint AS recovered_cents
    FROM daily_metrics
    GROUP BY merchant_id, metric_date;
DELETE FROM daily_metrics;

ALTER TABLE daily_metrics DROP CONSTRAINT daily_metrics_pkey;
ALTER TABLE daily_metrics
    DROP COLUMN currency,
    DROP COLUMN recovered_count,
    DROP COLUMN failed_cents,
    DROP COLUMN failed_count,
    DROP COLUMN exhausted_cents,
    DROP COLUMN exhausted_count,
    DROP COLUMN stopped_cents,
    DROP COLUMN stopped_count,
    DROP COLUMN attempt_count,
    DROP COLUMN message_count;
ALTER TABLE daily_metrics ADD CONSTRAINT daily_metrics_pkey PRIMARY KEY (merchant_id, metric_date);

INSERT INTO daily_metrics (merchant_id, metric_date, recovered_cents)
    SELECT merchant_id, metric_date, recovered_cents FROM folded;
