-- no transaction: the index is built concurrently, so that traffic goes on meanwhile
-- lint: this file runs outside a transaction (first line).
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- Held tasks are few: only they are in it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_held
    ON scheduled_tasks (merchant_id, held_for) WHERE held_for IS NOT NULL AND status IN ('pending', 'running');
