"""Usage: logged in the ledger and reported to a meter of Stripe."""
