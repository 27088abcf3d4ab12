-- Only where no recovery is pinned to it: a downgrade must not lose rows.
DELETE FROM policies
WHERE merchant_id IS NULL AND version = 1 AND NOT EXISTS (SELECT FROM recoveries WHERE policy_id = policies.id);
