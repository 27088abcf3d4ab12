DROP TABLE idempotency_keys;
ALTER TABLE usage_logs DROP CONSTRAINT usage_logs_recovery_has_currency;
DROP TRIGGER usage_logs_fold ON usage_logs;
DROP FUNCTION fold_usage_into_metrics();
DROP INDEX daily_metrics_days;
DROP INDEX usage_logs_merchant;
DROP INDEX usage_logs_recovery_once;
ALTER TABLE usage_logs
    DROP COLUMN public_id,
    DROP COLUMN currency,
    DROP COLUMN recovery_id,
    DROP COLUMN customer_id;
