-- One role per service, with only the grants that it needs. They cannot log in: a login of its own is made a member
-- (`GRANT citadel_ingress TO …`), and every service sets its role when it connects, whatever its login may do.
-- Roles belong to the whole server: another Citadel database on it may have made them already.

DO $$
DECLARE
    service_role text;
BEGIN
    FOREACH service_role IN ARRAY ARRAY['citadel_ingress', 'citadel_worker', 'citadel_auth', 'citadel_ledger'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', service_role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- made by another database of this server
        END;
        -- The owner may take any service's role: one login is enough for a desk and for the tests.
        IF NOT pg_has_role(current_user, service_role, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO %I', service_role, current_user);
        END IF;
    END LOOP;
END $$;

GRANT SELECT ON alembic_version, test_clock
    TO citadel_ingress, citadel_worker, citadel_auth, citadel_ledger;

-- Ingress: takes events in, opens and stops recoveries. It never reads a token; it may only wipe them.
GRANT SELECT (id, stripe_connect_id, status, tier, livemode, connected_at) ON merchants TO citadel_ingress;
GRANT UPDATE (status, access_token, refresh_token, disconnected_at) ON merchants TO citadel_ingress;
GRANT SELECT, INSERT ON processed_events TO citadel_ingress;
GRANT SELECT, INSERT ON scheduled_tasks TO citadel_ingress;
GRANT UPDATE (status, run_at, finished_at, last_error) ON scheduled_tasks TO citadel_ingress;
GRANT SELECT (id, merchant_id, active) ON policies TO citadel_ingress;
GRANT SELECT, INSERT ON recoveries TO citadel_ingress;
GRANT UPDATE (state, end_reason, stop_requested, amount_recovered, recovered_by, next_attempt_at, closed_at, updated_at)
    ON recoveries TO citadel_ingress;
GRANT SELECT ON recovery_transitions TO citadel_ingress;
GRANT SELECT ON attempts TO citadel_ingress;
GRANT SELECT, INSERT ON recovery_timeline TO citadel_ingress;
GRANT INSERT ON usage_logs TO citadel_ingress;

-- Worker: does the work. It reads no token either: it calls Stripe with the platform's key and Stripe-Account.
GRANT SELECT (id, stripe_connect_id, stripe_user_id, tier, status, livemode, created_at, connected_at, disconnected_at)
    ON merchants TO citadel_worker;
GRANT UPDATE (status, access_token, refresh_token, disconnected_at) ON merchants TO citadel_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON scheduled_tasks TO citadel_worker;
GRANT SELECT, DELETE ON processed_events TO citadel_worker;
GRANT SELECT ON policies, recovery_transitions, daily_metrics, merchant_totals TO citadel_worker;
GRANT SELECT, UPDATE ON recoveries TO citadel_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON attempts TO citadel_worker;
GRANT SELECT, INSERT ON recovery_timeline, usage_logs TO citadel_worker;
GRANT SELECT, INSERT, UPDATE ON periodic_tasks TO citadel_worker;
GRANT SELECT (api_key_id, key, created_at), DELETE ON idempotency_keys TO citadel_worker;
GRANT SELECT (nonce_hash, expires_at), DELETE ON oauth_states TO citadel_worker;

-- Auth: connects and disconnects merchants, knows the keys.
GRANT SELECT, INSERT, UPDATE ON merchants TO citadel_auth;
GRANT SELECT, INSERT, DELETE ON oauth_states TO citadel_auth;
GRANT SELECT, INSERT, UPDATE ON api_keys TO citadel_auth;
GRANT SELECT, INSERT ON scheduled_tasks TO citadel_auth;
GRANT UPDATE (status, finished_at, last_error) ON scheduled_tasks TO citadel_auth;
GRANT SELECT ON recoveries, recovery_transitions TO citadel_auth;
GRANT UPDATE (state, end_reason, stop_requested, amount_recovered, recovered_by, next_attempt_at, closed_at, updated_at)
    ON recoveries TO citadel_auth;
GRANT SELECT, INSERT ON recovery_timeline TO citadel_auth;
GRANT INSERT ON usage_logs TO citadel_auth;

-- Ledger: reads, and writes only what its API writes: a usage row, a task made, retried or canceled, an idempotency key.
GRANT SELECT (id, stripe_connect_id, tier, status, livemode, created_at, connected_at, disconnected_at)
    ON merchants TO citadel_ledger;
GRANT SELECT ON daily_metrics, merchant_totals, recoveries, attempts, recovery_timeline, usage_logs, scheduled_tasks
    TO citadel_ledger;
GRANT INSERT (merchant_id, metric_type, amount, customer_id) ON usage_logs TO citadel_ledger;
GRANT INSERT (merchant_id, task_type, payload, run_at, unique_key, max_attempts) ON scheduled_tasks TO citadel_ledger;
GRANT UPDATE (status, run_at, attempts, finished_at, last_error) ON scheduled_tasks TO citadel_ledger;
GRANT SELECT, INSERT ON idempotency_keys TO citadel_ledger;
GRANT SELECT (id, merchant_id, key_hash, scopes, expires_at, revoked_at, last_used_at) ON api_keys TO citadel_ledger;
GRANT UPDATE (last_used_at) ON api_keys TO citadel_ledger;

GRANT USAGE ON SEQUENCE scheduled_tasks_id_seq TO citadel_ingress, citadel_worker, citadel_auth, citadel_ledger;
GRANT USAGE ON SEQUENCE usage_logs_id_seq TO citadel_ingress, citadel_worker, citadel_auth, citadel_ledger;
