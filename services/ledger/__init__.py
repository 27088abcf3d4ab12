"""The ledger tells what happened, in numbers: the HTTP API that dashboards use."""
