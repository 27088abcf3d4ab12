"""The queue through the API: single tasks, and an operator's commands for many (`control`)."""
