-- One email a day for a customer, about all of their open invoices: when the last one went out, and which task writes
-- the next one. A task that is gone (dead, canceled) holds nobody up.

CREATE TABLE written_customers (
    merchant_id text NOT NULL,
    customer_id text NOT NULL,
    task_id bigint,  -- NULL: none writes
    recoveries uuid[] NOT NULL DEFAULT '{}',  -- what its email is about, the same in every try
    written_at timestamptz,
    asked_at timestamptz,  -- the last email that asked to authenticate
    PRIMARY KEY (merchant_id, customer_id)
) WITH (fillfactor = 80);

GRANT SELECT, INSERT, UPDATE ON written_customers TO citadel_worker;

-- The platform's default policy as a document of schema 4, in force where the default of schema 3 (migration 0021) was: a
-- version of the platform's own stays in force, and recoveries in flight stay on theirs.
WITH before AS (
    SELECT id, document, active
    FROM policies
    WHERE merchant_id IS NULL AND document ->> 'schema_version' = '3'
    ORDER BY version
    LIMIT 1
),
off AS (
    UPDATE policies SET active = false FROM before WHERE policies.id = before.id AND policies.active
)
INSERT INTO policies (merchant_id, version, active, note, document)
SELECT
    NULL,
    (SELECT max(version) + 1 FROM policies WHERE merchant_id IS NULL),
    false,
    'The default, as a document of schema 4',
    before.document
    || '{"schema_version": 4, "collect_ending": true, "tell_end_customer": true, "tell_end_merchant": true}'
FROM before
WHERE NOT EXISTS (SELECT FROM policies WHERE merchant_id IS NULL AND document ->> 'schema_version' = '4');

UPDATE policies
SET active = true, activated_at = citadel_now()
WHERE id = (
        SELECT id
        FROM policies
        WHERE merchant_id IS NULL AND document ->> 'schema_version' = '4'
        ORDER BY version
        LIMIT 1
    )
    AND NOT EXISTS (SELECT FROM policies AS other WHERE other.merchant_id IS NULL AND other.active);
