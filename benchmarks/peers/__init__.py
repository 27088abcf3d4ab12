"""The queues that are measured beside ours, each with the settings that are best for it."""
