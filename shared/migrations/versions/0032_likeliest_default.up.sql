-- The platform's default policy as a document of schema 5, in force where the default of schema 4 (migration 0028) was: a
-- version of the platform's own stays in force, and recoveries in flight stay on theirs.
WITH before AS (
    SELECT id, document, active
    FROM policies
    WHERE merchant_id IS NULL AND document ->> 'schema_version' = '4'
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
    'The default, as a document of schema 5',
    before.document || '{
    "schema_version": 5,
    "max_attempts": 15,
    "timing": "learned",
    "schedules": {
        "insufficient_funds": {"kind": "likeliest", "least_chance": 0.01, "after_hours": 16, "wages": {}, "max_attempts": null},
        "try_later": {"kind": "delays", "hours": [2, 8, 24, 48, 72, 96, 120], "max_attempts": null},
        "do_not_honor": {"kind": "likeliest", "least_chance": 0.01, "after_hours": 30, "wages": {}, "max_attempts": null},
        "limit_exceeded": {"kind": "delays", "hours": [25, 73, 169, 216], "max_attempts": null},
        "expired_card": {"kind": "delays", "hours": [72, 168], "max_attempts": null},
        "not_allowed": {"kind": "delays", "hours": [72, 168], "max_attempts": null},
        "unknown": {"kind": "likeliest", "least_chance": 0.01, "after_hours": 30, "wages": {}, "max_attempts": null}
    }
}'
FROM before
WHERE NOT EXISTS (SELECT FROM policies WHERE merchant_id IS NULL AND document ->> 'schema_version' = '5');

UPDATE policies
SET active = true, activated_at = citadel_now()
WHERE id = (
        SELECT id
        FROM policies
        WHERE merchant_id IS NULL AND document ->> 'schema_version' = '5'
        ORDER BY version
        LIMIT 1
    )
    AND NOT EXISTS (SELECT FROM policies AS other WHERE other.merchant_id IS NULL AND other.active);
