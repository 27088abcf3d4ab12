ALTER SEQUENCE usage_logs_id_seq AS integer;
ALTER TABLE usage_logs
    ALTER COLUMN amount TYPE integer,
    ALTER COLUMN id TYPE integer;

ALTER SEQUENCE scheduled_tasks_id_seq AS integer;
ALTER TABLE scheduled_tasks ALTER COLUMN id TYPE integer;
