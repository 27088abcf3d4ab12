REVOKE SELECT (id, document) ON policies FROM citadel_auth;
REVOKE UPDATE (reopenings) ON recoveries FROM citadel_auth;
DROP TRIGGER usage_logs_fold_reopenings ON usage_logs;
DROP FUNCTION fold_reopenings_into_metrics();
ALTER TABLE usage_logs DROP COLUMN reopenings;
DELETE FROM recovery_transitions WHERE from_state = 'stopped' AND to_state = 'open';
ALTER TABLE recoveries DROP COLUMN window_until, DROP COLUMN reopenings;
ALTER TABLE scheduled_tasks DROP COLUMN held_for, DROP COLUMN held_since;
