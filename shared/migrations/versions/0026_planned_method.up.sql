-- The payment method that is charged is the one that was planned: by its id, and by its card's fingerprint where Stripe gives
-- one. `next_backup` is not used any more: the request names every payment method.
-- lint: months and years are small.
-- squawk-ignore-file prefer-bigint-over-smallint
ALTER TABLE recoveries
    ADD COLUMN next_method text,
    ADD COLUMN next_fingerprint text,
    ADD COLUMN brought text[] NOT NULL DEFAULT '{}',
    ADD COLUMN first_default text;
COMMENT ON COLUMN recoveries.next_backup IS 'not used since next_method, which names every payment method';
COMMENT ON COLUMN recoveries.next_method IS 'the payment method that the planned attempt is for; NULL: none is planned';
COMMENT ON COLUMN recoveries.next_fingerprint IS 'the fingerprint of its card; NULL: Stripe gives none';
COMMENT ON COLUMN recoveries.brought IS 'payment methods that the customer has brought since the failure, by events';
COMMENT ON COLUMN recoveries.first_default IS 'the customer''s default when first read; empty: none; NULL: not read yet';

-- A card may get another date under the same payment method: what it was at the attempt.
ALTER TABLE attempts
    ADD COLUMN card_exp_month smallint,
    ADD COLUMN card_exp_year smallint;

GRANT UPDATE (brought) ON recoveries TO citadel_ingress;
