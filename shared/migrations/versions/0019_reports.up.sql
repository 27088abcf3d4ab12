-- What a comparison with the holdout must not lose: what was known of a recovery before anything was done about it.
-- And an order for the lists of who is not written to and whose card was told to expire.
-- lint: the columns of recoveries are nullable, so no row is rewritten. The other two tables hold a row per customer at
-- most; on grown ones the indexes are made by hand and CONCURRENTLY first.
-- squawk-ignore-file adding-field-with-default, adding-not-nullable-field, require-concurrent-index-creation
-- squawk-ignore-file adding-foreign-key-constraint

ALTER TABLE recoveries
    ADD COLUMN opened_policy_id uuid REFERENCES policies (id),
    ADD COLUMN first_cause text;
COMMENT ON COLUMN recoveries.opened_policy_id IS 'the version it was opened under, once it was moved to another';
COMMENT ON COLUMN recoveries.first_cause IS 'the cause of the decline that was read first, before any attempt of ours';

-- Whether a policy that holds out this share of invoices holds out this one: services.worker.recovery.in_holdout, in
-- SQL. A test compares the two.
CREATE FUNCTION citadel_in_holdout(share double precision, invoice_id text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (
        SELECT (CASE WHEN n < 0 THEN n::numeric + 18446744073709551616 ELSE n::numeric END)
            < share::numeric * 18446744073709551616
        FROM (
            SELECT ('x' || encode(substr(sha256(convert_to('holdout/' || invoice_id, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint
        ) AS hashed (n)
    );

ALTER TABLE silenced_customers ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX silenced_customers_newest ON silenced_customers (id);
CREATE INDEX silenced_customers_listed ON silenced_customers (merchant_id, id DESC);

ALTER TABLE card_warnings ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX card_warnings_newest ON card_warnings (id);
CREATE INDEX card_warnings_listed ON card_warnings (merchant_id, id DESC);

-- An operator silences a customer, and takes it back.
GRANT INSERT, DELETE ON silenced_customers TO citadel_ledger;
