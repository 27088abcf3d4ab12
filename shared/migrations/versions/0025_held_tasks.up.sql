-- What Stripe refuses for the sake of a key or of an account holds tasks and ends nothing; a window is longer when nobody
-- could do anything in it; and a merchant that connects again has its recoveries opened again.
-- lint: the columns are nullable, so no row is rewritten.

ALTER TABLE scheduled_tasks
    ADD COLUMN held_for text,  -- why Stripe lets nobody do it now, a services.worker.errors.Hold; NULL: it is not held
    ADD COLUMN held_since timestamptz;

ALTER TABLE recoveries
    ADD COLUMN window_until timestamptz;  -- the window's end, where it is later than the policy's days say

INSERT INTO recovery_transitions (from_state, to_state) VALUES ('stopped', 'open');

-- Auth opens again what was stopped when a merchant left, if its policy's window is not over.
GRANT SELECT (id, document) ON policies TO citadel_auth;
