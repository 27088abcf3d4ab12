"""Crash tests: the real processes while a seeded monkey kills, stops, cuts and delays; then a checker reads the logs.

python -m tests.chaos [--seconds 180] [--seed N]      one run: `make chaos`
python -m tests.chaos --mutants                       broken builds, each of which must be caught

run ── stack (PostgreSQL, ingress, workers, ledger, simulator; a proxy on every connection between them)
 │       ├── monkey   makes faults that it draws from the seed
 │       └── travel   moves both clocks meanwhile, so that retries become due
 └── no more faults, wait ── evidence (the simulator's logs, the proxies', the database) ── checks (pure)
"""
