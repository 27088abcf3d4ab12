-- The platform's default policy, version 2: a document of schema 2, written out in full. Recoveries in flight stay on
-- version 1. What is new in the table: who made a version and why, and what a recovery remembers between two runs.
-- lint: the columns are nullable or have constant defaults, so no row is rewritten and the locks are short.
-- The tables are young; on a grown one the two indexes are made by hand and CONCURRENTLY first.
-- squawk-ignore-file adding-not-nullable-field, adding-field-with-default, require-concurrent-index-creation

ALTER TABLE policies
    ADD COLUMN note text,  -- what the version is for, in the words of whoever made it
    ADD COLUMN activated_at timestamptz;
CREATE INDEX recoveries_on_policy ON recoveries (policy_id) WHERE closed_at IS NULL;

ALTER TABLE recoveries
    ADD COLUMN cards text[] NOT NULL DEFAULT '{}',  -- fingerprints of the cards that may be charged next
    ADD COLUMN next_backup text,  -- the payment method that the next attempt names; NULL: Stripe's own order decides
    ADD COLUMN holdout boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN recoveries.holdout IS 'watched and left alone, to measure what the others gain';

-- The networks count by card: what was tried on a card for whichever invoice.
CREATE INDEX attempts_on_card ON attempts (merchant_id, card_fingerprint, started_at)
    WHERE card_fingerprint IS NOT NULL;

-- Only version 1 steps down: after a downgrade another version of the platform may be in force, and stays so. Version 2
-- is still there if recoveries are pinned to it, and is put in force again.
UPDATE policies SET active = false WHERE merchant_id IS NULL AND version = 1 AND active;
INSERT INTO policies (merchant_id, version, active, activated_at, note, document)
SELECT NULL, 2, NOT EXISTS (SELECT FROM policies WHERE merchant_id IS NULL AND active), citadel_now(),
    'The default, as a document of schema 2', '{
    "schema_version": 2,
    "driver": "auto",
    "max_attempts": 8,
    "window_days": 21,
    "minimum_gap_hours": 1,
    "quiet_hours_around_stripe": 24,
    "schedules": {
        "insufficient_funds": {
            "kind": "paydays",
            "after_hours": 20,
            "from_hour": 8,
            "over_minutes": 120,
            "days_of_month": [1, 15],
            "weekdays": ["friday"],
            "last_business_day": true,
            "max_attempts": null
        },
        "try_later": {
            "kind": "delays",
            "hours": [2, 8, 24, 48, 72, 96, 120],
            "max_attempts": null
        },
        "do_not_honor": {
            "kind": "delays",
            "hours": [48, 72, 72, 96, 96, 120],
            "max_attempts": null
        },
        "limit_exceeded": {
            "kind": "delays",
            "hours": [25, 73, 169],
            "max_attempts": null
        },
        "expired_card": {
            "kind": "delays",
            "hours": [72, 168],
            "max_attempts": null
        },
        "not_allowed": {
            "kind": "delays",
            "hours": [72, 168],
            "max_attempts": null
        },
        "unknown": {
            "kind": "delays",
            "hours": [48, 72, 96, 120],
            "max_attempts": null
        }
    },
    "attempt_times": {
        "zone": "card_country",
        "quiet_from": 0,
        "quiet_until": 0,
        "weekdays": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
        "skip_holidays": false,
        "holidays_of": null
    },
    "timing": "rules",
    "message_days": [0, 3, 7, 14, 21],
    "action_required_days": null,
    "new_method_days": null,
    "card_expiring_days": 14,
    "thank_you": true,
    "minimum_amounts": {},
    "backup_methods": false,
    "end_action": "leave",
    "holdout_share": 0.0,
    "segments": []
}'
ON CONFLICT (merchant_id, version) DO NOTHING;
UPDATE policies
SET active = true, activated_at = citadel_now()
WHERE merchant_id IS NULL AND version = 2
    AND NOT EXISTS (SELECT FROM policies AS other WHERE other.merchant_id IS NULL AND other.active);

-- The ledger writes versions and says which is in force; a document, once written, is nobody's to change.
GRANT SELECT ON policies TO citadel_ledger;
GRANT INSERT (merchant_id, version, document, note) ON policies TO citadel_ledger;
GRANT UPDATE (active, activated_at) ON policies TO citadel_ledger;
