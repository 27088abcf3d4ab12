-- What a policy's segments ask about an invoice, as the worker read it last: so that a move to another version of the
-- policy can be told beforehand, without asking Stripe. Ids, a country and a time.
ALTER TABLE recoveries ADD COLUMN segment_facts jsonb;
COMMENT ON COLUMN recoveries.segment_facts IS 'products, prices, country, subscribed_at: as read last; NULL before';
