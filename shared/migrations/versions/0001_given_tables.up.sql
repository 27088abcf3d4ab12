-- The five given tables, exactly: names, types and defaults are fixed by the product's schema.
-- What is known to be wrong with them (serial, int, timestamp) is corrected in migrations of its own.
-- lint: part of the first release, runs before the first traffic, so a short exclusive lock is of no account.
-- squawk-ignore-file prefer-bigint-over-int, prefer-timestamp-tz, prefer-identity

CREATE TABLE merchants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stripe_connect_id text UNIQUE NOT NULL,
    stripe_user_id text,
    access_token text,
    tier text DEFAULT 'FREE',
    created_at timestamp DEFAULT now()
);

CREATE TABLE scheduled_tasks (
    id serial PRIMARY KEY,
    merchant_id text NOT NULL,
    task_type text NOT NULL,
    payload jsonb NOT NULL,
    status text DEFAULT 'pending',
    run_at timestamp DEFAULT now(),
    created_at timestamp DEFAULT now()
);

CREATE TABLE usage_logs (
    id serial PRIMARY KEY,
    merchant_id text NOT NULL,
    metric_type text NOT NULL,
    amount int DEFAULT 1,
    created_at timestamp DEFAULT now()
);

CREATE TABLE processed_events (
    event_id text PRIMARY KEY,
    processed_at timestamp DEFAULT now()
);

CREATE TABLE daily_metrics (
    merchant_id text NOT NULL,
    metric_date date DEFAULT current_date,
    recovered_cents bigint DEFAULT 0,
    PRIMARY KEY (merchant_id, metric_date)
);

ALTER TABLE scheduled_tasks SET (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE processed_events SET (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE usage_logs SET (autovacuum_vacuum_scale_factor = 0.05);
