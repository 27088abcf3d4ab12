-- The default of schema 5 is the platform's again where that of schema 6 is in force, which goes if no recovery is pinned
-- to it.
UPDATE policies
SET active = false
WHERE id = (
        SELECT id
        FROM policies
        WHERE merchant_id IS NULL AND document ->> 'schema_version' = '6'
        ORDER BY version
        LIMIT 1
    )
    AND active;
DELETE FROM policies
WHERE id = (
        SELECT id
        FROM policies
        WHERE merchant_id IS NULL AND document ->> 'schema_version' = '6'
        ORDER BY version
        LIMIT 1
    )
    AND NOT EXISTS (
        SELECT FROM recoveries WHERE policy_id = policies.id OR opened_policy_id = policies.id
    );
UPDATE policies
SET active = true
WHERE id = (
        SELECT id
        FROM policies
        WHERE merchant_id IS NULL AND document ->> 'schema_version' = '5'
        ORDER BY version
        LIMIT 1
    )
    AND NOT EXISTS (SELECT FROM policies AS other WHERE other.merchant_id IS NULL AND other.active);
DROP TABLE learned_message_hours;
