DROP TABLE collection_turned_off;
