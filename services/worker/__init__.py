"""The worker claims tasks, does them in two phases, and keeps the queue in order."""
