"""Measured against the limit and against peers, on one PostgreSQL: `make bench`, `make bench QUICK=1`."""
