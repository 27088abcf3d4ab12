-- The platform's default policy, version 1: what a merchant that sets nothing gets. Written out in full, so that a
-- recovery in flight keeps its rules when the code's defaults change; a test compares it with Policy.default().

INSERT INTO policies (merchant_id, version, active, document)
VALUES (NULL, 1, true, '{
    "schema_version": 1,
    "driver": "auto",
    "max_attempts": 8,
    "window_days": 21,
    "message_days": [0, 3, 7, 14, 21],
    "schedules": {
        "insufficient_funds": {"kind": "paydays", "after_hours": 20, "from_hour": 8, "over_minutes": 120},
        "try_later": {"kind": "delays", "hours": [2, 8, 24, 48, 72, 96, 120]},
        "do_not_honor": {"kind": "delays", "hours": [48, 72, 72, 96, 96, 120]},
        "limit_exceeded": {"kind": "delays", "hours": [25, 73, 169]},
        "expired_card": {"kind": "delays", "hours": [72, 168]},
        "not_allowed": {"kind": "delays", "hours": [72, 168]},
        "unknown": {"kind": "delays", "hours": [48, 72, 96, 120]}
    },
    "minimum_gap_hours": 1,
    "quiet_hours_around_stripe": 24,
    "end_action": "leave"
}')
ON CONFLICT (merchant_id, version) DO NOTHING;
