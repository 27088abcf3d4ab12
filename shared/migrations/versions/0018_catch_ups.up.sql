-- How far each merchant's events were looked through for what no webhook brought, and when its open invoices were.
-- One row per merchant, written by one task at a time; a page of a list and the place in it commit together.
-- lint: the index is of a table that is made here.
-- squawk-ignore-file require-concurrent-index-creation

CREATE TABLE catch_ups (
    merchant_id text PRIMARY KEY,
    next_at timestamptz NOT NULL DEFAULT citadel_now(),  -- when the next one is queued
    -- Events: up to events_until all were looked at. A list under way goes on below page_after, up to window_until.
    events_until timestamptz NOT NULL,
    window_until timestamptz,
    page_after text,
    -- Open invoices: last listed whole at invoices_at. A list under way began at invoices_from and goes on below
    -- invoices_after; to_read are those of a page that no recovery is about, and that have to be read first.
    invoices_at timestamptz,
    invoices_from timestamptz,
    invoices_after text,
    to_read text[] NOT NULL DEFAULT '{}',
    -- What was found, for people.
    finished_at timestamptz,
    events_found bigint NOT NULL DEFAULT 0,
    recoveries_found bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX catch_ups_next ON catch_ups (next_at);

GRANT SELECT, INSERT, UPDATE ON catch_ups TO citadel_worker;
-- Auth has a merchant that connects looked through at once.
GRANT SELECT, INSERT, UPDATE ON catch_ups TO citadel_auth;
GRANT SELECT ON catch_ups TO citadel_ledger;

-- The worker takes the events that it finds, as the ingress takes those that come.
GRANT INSERT ON processed_events TO citadel_worker;
GRANT INSERT ON recoveries TO citadel_worker;
GRANT DELETE ON silenced_customers TO citadel_worker;
