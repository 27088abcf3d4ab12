DROP TABLE recovered_charges;
