ALTER TABLE attempts DROP COLUMN card_exp_month, DROP COLUMN card_exp_year;
ALTER TABLE recoveries
    DROP COLUMN next_method,
    DROP COLUMN next_fingerprint,
    DROP COLUMN brought,
    DROP COLUMN first_default;
COMMENT ON COLUMN recoveries.next_backup IS NULL;
