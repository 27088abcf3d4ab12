DROP TABLE card_warnings;
