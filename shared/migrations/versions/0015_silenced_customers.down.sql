DROP TABLE silenced_customers;
