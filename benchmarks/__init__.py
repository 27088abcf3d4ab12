"""Benchmarks: the queue and the intake, compared with the limit and with peers: `make bench`, `make bench QUICK=1`."""
