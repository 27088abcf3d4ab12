"""The queue through the API: tasks one by one, and the hand of an operator (`control`)."""
