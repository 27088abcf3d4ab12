DROP TABLE daily_metrics;
DROP TABLE processed_events;
DROP TABLE usage_logs;
DROP TABLE scheduled_tasks;
DROP TABLE merchants;
