-- When a merchant's customers answer messages, and those of the pool's merchants together: counts by the hour of their day,
-- and nothing of any single customer. The platform's default policy goes by it.
CREATE TABLE learned_message_hours (
    merchant_id text PRIMARY KEY,
    learned_at timestamptz NOT NULL,
    messages bigint NOT NULL,
    layout text NOT NULL,
    hours jsonb NOT NULL
);
COMMENT ON COLUMN learned_message_hours.merchant_id IS 'a merchant''s id; platform: all merchants of the pool together';
COMMENT ON COLUMN learned_message_hours.learned_at IS 'what happened until then was counted';
COMMENT ON COLUMN learned_message_hours.messages IS 'how many messages were counted';
COMMENT ON COLUMN learned_message_hours.layout IS 'what the places of hours mean; another one is not read';

GRANT SELECT, INSERT, UPDATE, DELETE ON learned_message_hours TO citadel_worker;

-- The default as a document of schema 6, in force where that of schema 5 (migration 0032) was: a version of the platform's
-- own stays in force, and recoveries in flight stay on theirs.
WITH before AS (
    SELECT id, document, active
    FROM policies
    WHERE merchant_id IS NULL AND document ->> 'schema_version' = '5'
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
    'The default, as a document of schema 6',
    before.document || '{"schema_version": 6, "message_hours": {"kind": "likeliest"}}'
FROM before
WHERE NOT EXISTS (SELECT FROM policies WHERE merchant_id IS NULL AND document ->> 'schema_version' = '6');

UPDATE policies
SET active = true, activated_at = citadel_now()
WHERE id = (
        SELECT id
        FROM policies
        WHERE merchant_id IS NULL AND document ->> 'schema_version' = '6'
        ORDER BY version
        LIMIT 1
    )
    AND NOT EXISTS (SELECT FROM policies AS other WHERE other.merchant_id IS NULL AND other.active);
