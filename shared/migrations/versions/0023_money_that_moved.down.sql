ALTER TABLE catch_ups
    DROP COLUMN types_listed,
    DROP COLUMN types_done;
