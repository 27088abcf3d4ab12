ALTER TABLE recoveries DROP COLUMN segment_facts;
