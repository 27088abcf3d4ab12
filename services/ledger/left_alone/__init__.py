"""Customers and subscriptions that are left alone."""
