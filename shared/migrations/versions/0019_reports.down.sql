-- A column takes the indexes that it is part of with it.
REVOKE INSERT, DELETE ON silenced_customers FROM citadel_ledger;
ALTER TABLE card_warnings DROP COLUMN id;
ALTER TABLE silenced_customers DROP COLUMN id;
DROP FUNCTION citadel_in_holdout(double precision, text);
ALTER TABLE recoveries
    DROP COLUMN first_cause,
    DROP COLUMN opened_policy_id;
