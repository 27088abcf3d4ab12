-- Money that was booked as recovered and taken back: by a refund, or by a dispute, which may be won.
-- lint: new columns have constant defaults, so no row is rewritten; the indexes are of a table that is made
-- here, and of one that is as new.
-- squawk-ignore-file adding-field-with-default, require-concurrent-index-creation

-- A book that has been here before has such rows, which the totals of the revisions before do not have. Read first, while
-- nothing is locked; the code before this one writes none.
CREATE TEMPORARY TABLE booked_before ON COMMIT DROP AS
SELECT
    merchant_id,
    (created_at AT TIME ZONE 'UTC')::date AS metric_date,
    currency,
    COALESCE(sum(amount) FILTER (WHERE metric_type = 'refunded'), 0)::bigint AS refunded,
    COALESCE(sum(amount) FILTER (WHERE metric_type = 'disputed'), 0)::bigint AS disputed,
    COALESCE(sum(amount) FILTER (WHERE metric_type = 'won_back'), 0)::bigint AS won_back
FROM usage_logs
WHERE recovery_id IS NOT NULL AND metric_type IN ('refunded', 'disputed', 'won_back')
GROUP BY 1, 2, 3;

-- What Stripe has said of refunds and disputes, once each, whatever the order and number of the events. A row may be
-- there before its charge is booked, because an event can overtake our own commit.
CREATE TABLE money_back (
    merchant_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('refund', 'refunds', 'dispute')),  -- refunds: the charge's sum of all of them
    external_id text NOT NULL,  -- Stripe's id of the refund, of the dispute, or of the charge that has the sum
    charge_id text,
    payment_intent_id text,
    amount bigint NOT NULL CHECK (amount >= 0),
    returned bigint NOT NULL DEFAULT 0,  -- what came back: the refund failed, or the dispute was won
    currency text NOT NULL,
    moved_at timestamptz NOT NULL,
    returned_at timestamptz,
    noted_at timestamptz NOT NULL DEFAULT citadel_now(),
    booked boolean NOT NULL DEFAULT false,  -- its charge was booked as recovered; others are pruned
    PRIMARY KEY (merchant_id, kind, external_id),
    CHECK (returned BETWEEN 0 AND amount),
    CHECK (charge_id IS NOT NULL OR payment_intent_id IS NOT NULL)
);
CREATE INDEX money_back_of_charge ON money_back (merchant_id, charge_id);
CREATE INDEX money_back_of_intent ON money_back (merchant_id, payment_intent_id);
CREATE INDEX money_back_of_nobody ON money_back (noted_at) WHERE NOT booked;

-- How much of a booked charge is in the book as taken back: at most its amount.
ALTER TABLE recovered_charges
    ADD COLUMN refunded bigint NOT NULL DEFAULT 0,
    ADD COLUMN disputed bigint NOT NULL DEFAULT 0,
    ADD COLUMN won_back bigint NOT NULL DEFAULT 0;

CREATE INDEX recovered_charges_taken_back ON recovered_charges (recovery_id)
    WHERE refunded <> 0 OR disputed <> 0;

-- The refund or dispute that a row of the book is about.
ALTER TABLE usage_logs ADD COLUMN external_id text;

ALTER TABLE daily_metrics
    ADD COLUMN refunded_cents bigint NOT NULL DEFAULT 0,
    ADD COLUMN disputed_cents bigint NOT NULL DEFAULT 0,
    ADD COLUMN won_back_cents bigint NOT NULL DEFAULT 0;
ALTER TABLE merchant_totals
    ADD COLUMN refunded_cents bigint NOT NULL DEFAULT 0,
    ADD COLUMN disputed_cents bigint NOT NULL DEFAULT 0,
    ADD COLUMN won_back_cents bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION fold_usage_into_metrics() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
BEGIN
    -- Sorted by key, so that two statements never lock two rows in opposite orders. What is recovered is net. A negative
    -- row takes an earlier end back, and its count with it.
    INSERT INTO public.daily_metrics AS d (
        merchant_id, metric_date, currency, failed_cents, failed_count, recovered_cents, recovered_count,
        refunded_cents, disputed_cents, won_back_cents, exhausted_cents, exhausted_count, stopped_cents,
        stopped_count, attempt_count, message_count)
    SELECT
        merchant_id,
        (created_at AT TIME ZONE 'UTC')::date,
        currency,
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_opened'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_opened' AND amount >= 0)
            - count(*) FILTER (WHERE metric_type = 'recovery_opened' AND amount < 0),
        COALESCE(sum(CASE WHEN metric_type IN ('refunded', 'disputed') THEN -amount ELSE amount END)
            FILTER (WHERE metric_type IN ('recovery_recovered', 'refunded', 'disputed', 'won_back')), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_recovered' AND amount >= 0)
            - count(*) FILTER (WHERE metric_type = 'recovery_recovered' AND amount < 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'refunded'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'disputed'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'won_back'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_exhausted'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_exhausted' AND amount >= 0)
            - count(*) FILTER (WHERE metric_type = 'recovery_exhausted' AND amount < 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_stopped'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_stopped' AND amount >= 0)
            - count(*) FILTER (WHERE metric_type = 'recovery_stopped' AND amount < 0),
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
        refunded_cents = d.refunded_cents + excluded.refunded_cents,
        disputed_cents = d.disputed_cents + excluded.disputed_cents,
        won_back_cents = d.won_back_cents + excluded.won_back_cents,
        exhausted_cents = d.exhausted_cents + excluded.exhausted_cents,
        exhausted_count = d.exhausted_count + excluded.exhausted_count,
        stopped_cents = d.stopped_cents + excluded.stopped_cents,
        stopped_count = d.stopped_count + excluded.stopped_count,
        attempt_count = d.attempt_count + excluded.attempt_count,
        message_count = d.message_count + excluded.message_count;

    INSERT INTO public.merchant_totals AS t (
        merchant_id, currency, failed_cents, failed_count, recovered_cents, recovered_count, refunded_cents,
        disputed_cents, won_back_cents, exhausted_cents, exhausted_count, stopped_cents, stopped_count,
        attempt_count, message_count)
    SELECT
        merchant_id,
        currency,
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_opened'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_opened' AND amount >= 0)
            - count(*) FILTER (WHERE metric_type = 'recovery_opened' AND amount < 0),
        COALESCE(sum(CASE WHEN metric_type IN ('refunded', 'disputed') THEN -amount ELSE amount END)
            FILTER (WHERE metric_type IN ('recovery_recovered', 'refunded', 'disputed', 'won_back')), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_recovered' AND amount >= 0)
            - count(*) FILTER (WHERE metric_type = 'recovery_recovered' AND amount < 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'refunded'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'disputed'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'won_back'), 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_exhausted'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_exhausted' AND amount >= 0)
            - count(*) FILTER (WHERE metric_type = 'recovery_exhausted' AND amount < 0),
        COALESCE(sum(amount) FILTER (WHERE metric_type = 'recovery_stopped'), 0),
        count(*) FILTER (WHERE metric_type = 'recovery_stopped' AND amount >= 0)
            - count(*) FILTER (WHERE metric_type = 'recovery_stopped' AND amount < 0),
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
        refunded_cents = t.refunded_cents + excluded.refunded_cents,
        disputed_cents = t.disputed_cents + excluded.disputed_cents,
        won_back_cents = t.won_back_cents + excluded.won_back_cents,
        exhausted_cents = t.exhausted_cents + excluded.exhausted_cents,
        exhausted_count = t.exhausted_count + excluded.exhausted_count,
        stopped_cents = t.stopped_cents + excluded.stopped_cents,
        stopped_count = t.stopped_count + excluded.stopped_count,
        attempt_count = t.attempt_count + excluded.attempt_count,
        message_count = t.message_count + excluded.message_count;
    RETURN NULL;
END $$;

UPDATE daily_metrics AS d
SET refunded_cents = b.refunded,
    disputed_cents = b.disputed,
    won_back_cents = b.won_back,
    recovered_cents = COALESCE(d.recovered_cents, 0) - b.refunded - b.disputed + b.won_back
FROM booked_before AS b
WHERE (d.merchant_id, d.metric_date, d.currency) = (b.merchant_id, b.metric_date, b.currency);
UPDATE merchant_totals AS t
SET refunded_cents = b.refunded,
    disputed_cents = b.disputed,
    won_back_cents = b.won_back,
    recovered_cents = t.recovered_cents - b.refunded - b.disputed + b.won_back
FROM (
    SELECT merchant_id, currency, sum(refunded)::bigint AS refunded, sum(disputed)::bigint AS disputed,
        sum(won_back)::bigint AS won_back
    FROM booked_before
    GROUP BY 1, 2
) AS b
WHERE (t.merchant_id, t.currency) = (b.merchant_id, b.currency);

GRANT SELECT, INSERT, UPDATE ON money_back TO citadel_ingress, citadel_worker;
GRANT DELETE ON money_back TO citadel_worker;
GRANT UPDATE (refunded, disputed, won_back) ON recovered_charges TO citadel_ingress, citadel_worker;
