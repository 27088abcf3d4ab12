"""Customers who are not written to, and warnings about cards that customers had."""
