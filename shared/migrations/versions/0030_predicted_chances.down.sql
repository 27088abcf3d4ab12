ALTER TABLE attempts DROP COLUMN predicted_chance, DROP COLUMN after_cause;
ALTER TABLE recoveries DROP COLUMN next_chance, DROP COLUMN next_after_cause;
