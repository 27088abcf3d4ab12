REVOKE INSERT (recovery_id) ON scheduled_tasks FROM citadel_ledger;
REVOKE INSERT (currency, recovery_id, nth_end, external_id) ON usage_logs FROM citadel_ledger;
REVOKE INSERT ON recovery_timeline FROM citadel_ledger;
REVOKE SELECT ON recovery_transitions FROM citadel_ledger;
REVOKE UPDATE (state, end_reason, stop_requested, amount_recovered, recovered_by, next_attempt_at, closed_at, updated_at)
    ON recoveries FROM citadel_ledger;
DROP TABLE left_alone;
