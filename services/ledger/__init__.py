"""What happened, in numbers: the HTTP API that dashboards use. See README.md."""
