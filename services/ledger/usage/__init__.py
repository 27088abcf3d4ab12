"""Usage: written to the ledger and reported to Stripe's meters."""
