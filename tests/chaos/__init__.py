"""Crash tests: the real processes while a seeded monkey kills, stops, cuts and delays; then a checker reads the logs.

python -m tests.chaos [--seconds 180] [--seed N]      one run: `make chaos`
python -m tests.chaos --mutants                       broken builds, each of which must be caught

run ── stack (PostgreSQL, ingress, workers, ledger, simulator; a proxy on every way between them)
 │       ├── monkey   draws from the seed what goes wrong
 │       └── travel   moves both clocks on meanwhile, so that retries come due
 └── heal, quiet ── evidence (the simulator's logs, the proxies', the database) ── checks (pure)
"""
