-- The platform's default policy as a document of schema 3, written out in full: invoices of all kinds that Stripe makes
-- by itself are collected. It is in force where the default before it (version 2, of migration 0014) was: a version of the
-- platform's own stays in force, and recoveries in flight stay on theirs. It is the platform's first document of schema 3.
UPDATE policies SET active = false WHERE merchant_id IS NULL AND version = 2 AND active;

INSERT INTO policies (merchant_id, version, active, note, document)
SELECT NULL, max(version) + 1, false, 'The default, as a document of schema 3', '{
    "schema_version": 3,
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
    "billing_reasons": ["subscription_cycle", "subscription_threshold", "automatic_pending_invoice_item_invoice"],
    "minimum_amounts": {},
    "backup_methods": false,
    "end_action": "leave",
    "holdout_share": 0.0,
    "segments": []
}'
FROM policies
WHERE merchant_id IS NULL
HAVING NOT bool_or(document ->> 'schema_version' = '3');

UPDATE policies
SET active = true, activated_at = citadel_now()
WHERE id = (
        SELECT id
        FROM policies
        WHERE merchant_id IS NULL AND document ->> 'schema_version' = '3'
        ORDER BY version
        LIMIT 1
    )
    AND NOT EXISTS (SELECT FROM policies AS other WHERE other.merchant_id IS NULL AND other.active);

-- Whether a recovery is opened is the policy's to say.
GRANT SELECT (document) ON policies TO citadel_ingress;
