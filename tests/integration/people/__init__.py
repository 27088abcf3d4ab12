"""What people say holds: through the real ingress, the ledger's API and a worker."""
