-- no transaction: every index is built concurrently, so that traffic goes on meanwhile
-- lint: this file runs outside a transaction (first line).
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- The claim. A merchant's tasks are in one of 256 lanes, and a claim goes round the lanes: one merchant's million due
-- tasks fill its own lane. `shared.queue.tasks` writes the same expression.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_lanes
    ON scheduled_tasks ((hashtextextended(merchant_id, 0) & 255), run_at, id) WHERE status = 'pending' AND NOT parked;
-- Never two tasks of one recovery at the same time, whoever claims.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_one_per_recovery
    ON scheduled_tasks (recovery_id) WHERE status = 'running' AND recovery_id IS NOT NULL;
-- What waits for the end of a pause.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_parked
    ON scheduled_tasks (merchant_id, id) WHERE status = 'pending' AND parked;
-- The prune: a few pages for a table of millions, because tasks end roughly in the order of their rows.
CREATE INDEX CONCURRENTLY IF NOT EXISTS scheduled_tasks_finished
    ON scheduled_tasks USING brin (finished_at) WITH (pages_per_range = 32, autosummarize = on);
