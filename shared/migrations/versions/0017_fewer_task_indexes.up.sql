-- no transaction: every index is built concurrently, so that traffic goes on meanwhile
-- A task's row is written three times in its life, and each time into every index that covers it: the indexes are what
-- the queue's speed is made of (docs/performance.md). Two go, one covers less, and public ids need none any more.
-- Until the ledger of this version runs, a task by its public id is found by a scan: slow, and right.
-- lint: this file runs outside a transaction (first line).
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- A public id holds its row's number: UUIDv8 (RFC 9562, section 5.8), 74 random bits, then the number in 48 bits. It
-- cannot be guessed, and tells who reads it closely about how many tasks there were before.
CREATE OR REPLACE FUNCTION citadel_task_uuid(number bigint) RETURNS uuid LANGUAGE sql VOLATILE
RETURN overlay(
    overlay(gen_random_uuid()::text PLACING '8' FROM 15) PLACING lpad(to_hex(number), 12, '0') FROM 25
)::uuid;
-- The row's number in a public id. An id of before this migration (UUIDv4) holds none and is looked up.
CREATE OR REPLACE FUNCTION citadel_task_number(public_id uuid) RETURNS bigint LANGUAGE sql STABLE
RETURN CASE get_byte(uuid_send(public_id), 6) / 16
    WHEN 8 THEN ('x' || right(public_id::text, 12))::bit(48)::bigint
    ELSE (
        SELECT t.id FROM scheduled_tasks AS t WHERE t.public_id = $1 AND get_byte(uuid_send(t.public_id), 6) / 16 <> 8
    )
END;

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_public_id_v4
    ON scheduled_tasks (public_id) WHERE get_byte(uuid_send(public_id), 6) / 16 <> 8;
-- Defaults are worked out in the order of the columns: the id's nextval comes first.
ALTER TABLE scheduled_tasks
    ALTER COLUMN public_id SET DEFAULT citadel_task_uuid(currval('public.scheduled_tasks_id_seq'));
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_public_id;

-- A merchant's tasks, newest first. Running ones are few and have their own index: without them, a claim writes none.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_of_merchant
    ON scheduled_tasks (merchant_id, id) WHERE status <> 'running';
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_merchant;

-- The lanes hold the same rows.
DROP INDEX CONCURRENTLY IF EXISTS scheduled_tasks_due;
