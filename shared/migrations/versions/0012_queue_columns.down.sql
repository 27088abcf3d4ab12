DROP TRIGGER scheduled_tasks_hint ON scheduled_tasks;
DROP FUNCTION hint_at_new_tasks();
DROP TABLE idle_workers;
DROP TABLE call_rates;
DROP TABLE queue_pauses;
ALTER TABLE scheduled_tasks RESET (autovacuum_vacuum_cost_delay);
ALTER TABLE scheduled_tasks
    DROP COLUMN parked,
    DROP COLUMN rescues;
