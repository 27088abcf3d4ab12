"""Other queues for comparison, each with its best settings."""
