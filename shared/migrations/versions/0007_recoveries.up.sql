-- Recoveries, their attempts and their timeline; the policies they are pinned to.
-- lint: part of the first release, runs before the first traffic, so a short exclusive lock is of no account.
-- squawk-ignore-file prefer-bigint-over-int

CREATE TABLE policies (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    merchant_id text,  -- NULL: the platform's default
    version integer NOT NULL CHECK (version > 0),
    document jsonb NOT NULL,
    active boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT citadel_now(),
    UNIQUE NULLS NOT DISTINCT (merchant_id, version)
);
COMMENT ON COLUMN policies.document IS 'services.worker.recovery.Policy as JSON; never changed once written';
CREATE UNIQUE INDEX policies_one_active ON policies (merchant_id) NULLS NOT DISTINCT WHERE active;

CREATE TABLE recoveries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    merchant_id text NOT NULL,
    invoice_id text NOT NULL,
    subscription_id text,
    customer_id text,
    state text NOT NULL DEFAULT 'open',
    end_reason text,
    stop_requested text,  -- a stop that came while an attempt was in flight: the attempt's outcome decides
    amount_due bigint NOT NULL CHECK (amount_due >= 0),
    currency text NOT NULL,
    amount_recovered bigint NOT NULL DEFAULT 0 CHECK (amount_recovered >= 0),
    recovered_by text CHECK (recovered_by IN ('retry', 'message')),
    decline_cause text,
    policy_id uuid NOT NULL REFERENCES policies (id),
    opened_at timestamptz NOT NULL DEFAULT citadel_now(),
    next_attempt_at timestamptz,
    closed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT citadel_now(),
    UNIQUE (merchant_id, invoice_id),
    CONSTRAINT recoveries_ended_says_why CHECK (
        (state IN ('recovered', 'exhausted', 'stopped')) = (closed_at IS NOT NULL AND end_reason IS NOT NULL)
    ),
    CONSTRAINT recoveries_recovered_says_how CHECK ((state = 'recovered') = (recovered_by IS NOT NULL))
);
-- The API's lists, newest first: a merchant's, the platform's, and by each of Stripe's ids.
CREATE INDEX recoveries_listed ON recoveries (merchant_id, opened_at DESC, id DESC);
CREATE INDEX recoveries_newest ON recoveries (opened_at DESC, id DESC);
CREATE INDEX recoveries_of_customer ON recoveries (customer_id, opened_at DESC, id DESC);
CREATE INDEX recoveries_of_subscription ON recoveries (subscription_id, opened_at DESC, id DESC);
CREATE INDEX recoveries_of_invoice ON recoveries (invoice_id);
-- The ingress's stops and the open ones.
CREATE INDEX recoveries_by_subscription ON recoveries (merchant_id, subscription_id) WHERE closed_at IS NULL;
CREATE INDEX recoveries_by_customer ON recoveries (merchant_id, customer_id) WHERE closed_at IS NULL;

-- The states and the changes between them that are allowed; shared/recoveries.py holds the same table, a test compares.
CREATE TABLE recovery_transitions (
    from_state text NOT NULL,
    to_state text NOT NULL,
    PRIMARY KEY (from_state, to_state)
);
INSERT INTO recovery_transitions (from_state, to_state)
    SELECT f, t
    FROM unnest(ARRAY['open', 'waiting', 'attempting', 'action_required', 'needs_new_method']) AS f,
         unnest(ARRAY['waiting', 'attempting', 'action_required', 'needs_new_method',
                      'recovered', 'exhausted', 'stopped']) AS t
    WHERE f <> t;

CREATE FUNCTION check_recovery_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM public.recovery_transitions
        WHERE from_state = OLD.state AND to_state = NEW.state
    ) THEN
        RAISE EXCEPTION 'recovery %: no way from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER recoveries_transition
    BEFORE UPDATE OF state ON recoveries
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION check_recovery_transition();

CREATE FUNCTION check_recovery_start() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'recovery %: starts as open, not as %', NEW.id, NEW.state USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER recoveries_start
    BEFORE INSERT ON recoveries
    FOR EACH ROW WHEN (NEW.state <> 'open')
    EXECUTE FUNCTION check_recovery_start();

-- One try to collect, by us or by Stripe. Our row is committed before the call to Stripe.
CREATE TABLE attempts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    recovery_id uuid NOT NULL REFERENCES recoveries (id),
    merchant_id text NOT NULL,
    origin text NOT NULL CHECK (origin IN ('citadel', 'stripe')),
    number integer NOT NULL CHECK (number > 0),
    idempotency_key text UNIQUE,
    result text NOT NULL DEFAULT 'started'
        CHECK (result IN ('started', 'succeeded', 'declined', 'requires_action', 'failed', 'abandoned', 'unknown')),
    amount bigint NOT NULL CHECK (amount >= 0),
    currency text NOT NULL,
    payment_method_id text,
    card_fingerprint text,
    card_network text,
    card_country text,
    payment_intent_id text,
    charge_id text,
    error_code text,
    decline_code text,
    advice_code text,
    network_decline_code text,
    network_advice_code text,
    started_at timestamptz NOT NULL DEFAULT citadel_now(),
    finished_at timestamptz,
    UNIQUE (recovery_id, origin, number),
    CONSTRAINT attempts_ours_has_a_key CHECK ((origin = 'citadel') = (idempotency_key IS NOT NULL))
);
-- At most one of our attempts of a recovery is in flight, and at most one ever succeeds.
CREATE UNIQUE INDEX attempts_one_in_flight ON attempts (recovery_id) WHERE result = 'started';
CREATE UNIQUE INDEX attempts_one_success ON attempts (recovery_id) WHERE result = 'succeeded';
-- What Stripe tried is read again and again: one row per charge.
CREATE UNIQUE INDEX attempts_one_per_charge ON attempts (recovery_id, charge_id) WHERE charge_id IS NOT NULL;

-- Every change of a recovery, and everything done for it, with its reason.
CREATE TABLE recovery_timeline (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recovery_id uuid NOT NULL REFERENCES recoveries (id),
    merchant_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT citadel_now(),
    kind text NOT NULL,  -- opened, decided, attempted, messaged, changed, stop_requested, closed
    from_state text,
    to_state text,
    rule text NOT NULL,
    explanation text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    next_step text,
    next_at timestamptz
);
CREATE INDEX recovery_timeline_story ON recovery_timeline (recovery_id, id);
CREATE INDEX recovery_timeline_activity ON recovery_timeline (merchant_id, id DESC);
