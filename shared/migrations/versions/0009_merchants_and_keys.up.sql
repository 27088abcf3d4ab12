-- What a connected merchant is beside its id, the OAuth states in flight, the API keys, and what is kept of an event.
-- lint: part of the first release, runs before the first traffic, so a short exclusive lock is of no account.
-- squawk-ignore-file constraint-missing-not-valid, adding-field-with-default, adding-not-nullable-field, require-concurrent-index-creation

ALTER TABLE merchants
    ADD COLUMN refresh_token text,  -- encrypted, like access_token
    ADD COLUMN oauth_scope text,
    ADD COLUMN livemode boolean,
    ADD COLUMN status text NOT NULL DEFAULT 'active',
    ADD COLUMN connected_at timestamptz,
    ADD COLUMN disconnected_at timestamptz,
    ALTER COLUMN created_at SET NOT NULL;
CREATE INDEX merchants_newest ON merchants (created_at DESC, id DESC);
ALTER TABLE merchants
    ADD CONSTRAINT merchants_status_known CHECK (status IN ('active', 'disconnected', 'deauthorized')) NOT VALID;
ALTER TABLE merchants VALIDATE CONSTRAINT merchants_status_known;
-- A merchant that is gone leaves no token behind.
ALTER TABLE merchants
    ADD CONSTRAINT merchants_gone_has_no_token
    CHECK (status = 'active' OR (access_token IS NULL AND refresh_token IS NULL)) NOT VALID;
ALTER TABLE merchants VALIDATE CONSTRAINT merchants_gone_has_no_token;

-- One row per OAuth round trip: used once, then gone. Times are real time: a browser waits in real time.
CREATE TABLE oauth_states (
    nonce_hash bytea PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    merchant_id text,  -- NULL: the whole platform
    key_hash bytea NOT NULL UNIQUE,  -- SHA-256 of a secret with 256 random bits: needs no slow hash
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);

ALTER TABLE processed_events
    ADD COLUMN event_type text,
    ADD COLUMN stripe_account text,
    ADD COLUMN merchant_id text,
    ADD COLUMN object_id text,
    ADD COLUMN api_version text,
    ADD COLUMN event_created_at timestamptz,
    ADD COLUMN outcome text;  -- what routing made of it: routed, ignored, unknown_account, platform
