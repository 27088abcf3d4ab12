REVOKE SELECT (id, document) ON policies FROM citadel_auth;
DELETE FROM recovery_transitions WHERE from_state = 'stopped' AND to_state = 'open';
ALTER TABLE recoveries DROP COLUMN window_until;
ALTER TABLE scheduled_tasks DROP COLUMN held_for, DROP COLUMN held_since;
