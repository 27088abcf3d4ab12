-- How likely each planned attempt was to succeed, as predicted before it was made, and the cause of the decline that it
-- followed: what was predicted can be held against what came of it.
-- The checks hold for every row that is written; older rows have NULL in all of these columns.
ALTER TABLE recoveries
    ADD COLUMN next_chance double precision,
    ADD COLUMN next_after_cause text;
COMMENT ON COLUMN recoveries.next_chance IS 'how likely the planned attempt is to succeed; NULL: nothing predicts it';
COMMENT ON COLUMN recoveries.next_after_cause IS 'the cause of the decline that the prediction is about; NULL without one';

ALTER TABLE attempts
    ADD COLUMN predicted_chance double precision,
    ADD COLUMN after_cause text;
COMMENT ON COLUMN attempts.predicted_chance IS 'how likely it was to succeed, as planned; NULL: nothing predicted it';
COMMENT ON COLUMN attempts.after_cause IS 'the cause of the decline before it, by which it was predicted; NULL without a chance';
ALTER TABLE attempts
    ADD CONSTRAINT attempts_predicted_chance_is_a_share CHECK (predicted_chance BETWEEN 0 AND 1) NOT VALID,
    ADD CONSTRAINT attempts_predicted_after_a_cause CHECK (
        (predicted_chance IS NULL) = (after_cause IS NULL)
    ) NOT VALID,
    ADD CONSTRAINT attempts_predicted_are_ours CHECK (predicted_chance IS NULL OR origin = 'citadel') NOT VALID;
