REVOKE ALL ON policies FROM citadel_ledger;

-- Version 2 goes where no recovery is pinned to it; version 1 is the platform's again, where version 2 is in force. A
-- merchant's own version stays in force, and so does a later one of the platform's.
UPDATE policies SET active = false WHERE merchant_id IS NULL AND version = 2 AND active;
DELETE FROM policies
WHERE merchant_id IS NULL AND version = 2 AND NOT EXISTS (SELECT FROM recoveries WHERE policy_id = policies.id);
UPDATE policies
SET active = true
WHERE merchant_id IS NULL AND version = 1
    AND NOT EXISTS (SELECT FROM policies AS other WHERE other.merchant_id IS NULL AND other.active);

DROP INDEX attempts_on_card;
ALTER TABLE recoveries DROP COLUMN cards, DROP COLUMN next_backup, DROP COLUMN holdout;
DROP INDEX recoveries_on_policy;
ALTER TABLE policies DROP COLUMN note, DROP COLUMN activated_at;
