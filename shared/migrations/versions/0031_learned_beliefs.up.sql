-- What was learned of a merchant's customers from its recoveries: shares, and nothing of any single customer.
CREATE TABLE learned_beliefs (
    merchant_id text PRIMARY KEY,
    looked_at timestamptz NOT NULL,
    learned_at timestamptz,
    recoveries bigint,
    layout text,
    belief jsonb,
    differences jsonb,
    CONSTRAINT learned_beliefs_whole_or_none CHECK (
        num_nonnulls(learned_at, recoveries, layout, belief, differences) IN (0, 5)
    )
);
COMMENT ON COLUMN learned_beliefs.merchant_id IS 'a merchant''s id; platform: all merchants of the pool together';
COMMENT ON COLUMN learned_beliefs.looked_at IS 'when it was last looked whether there is enough new to learn from';
COMMENT ON COLUMN learned_beliefs.learned_at IS 'what happened until then was learned from; NULL: nothing was, so far';
COMMENT ON COLUMN learned_beliefs.recoveries IS 'from how many recoveries it was learned';
COMMENT ON COLUMN learned_beliefs.layout IS 'what the places of the belief''s arrays mean; another one is not read';
COMMENT ON COLUMN learned_beliefs.differences IS 'where these customers differ from what was expected, as sentences';

-- Merchants whose recoveries are not learned from for others. A merchant that leaves and comes back has said it still.
CREATE TABLE pool_opt_outs (
    merchant_id text PRIMARY KEY,
    opted_out_at timestamptz NOT NULL DEFAULT citadel_now()
);

-- Stripe's `card.funding`: a credit card that lacks funds may lack its monthly limit. Older rows have NULL.
ALTER TABLE attempts ADD COLUMN card_funding text;
COMMENT ON COLUMN attempts.card_funding IS 'credit, debit, prepaid or unknown, as Stripe says; NULL: it did not';

GRANT SELECT, INSERT, UPDATE, DELETE ON learned_beliefs TO citadel_worker;
GRANT SELECT (merchant_id, learned_at, recoveries, differences) ON learned_beliefs TO citadel_ledger;
GRANT SELECT ON pool_opt_outs TO citadel_worker;
GRANT SELECT, INSERT, DELETE ON pool_opt_outs TO citadel_ledger;
