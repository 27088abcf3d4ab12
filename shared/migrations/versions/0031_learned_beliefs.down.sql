ALTER TABLE attempts DROP COLUMN card_funding;
DROP TABLE pool_opt_outs;
DROP TABLE learned_beliefs;
