"""`citadel demo`: thirty days of two thousand subscriptions in about a minute, with proof at the end.

`story.py` tells it, `checks.py` proves it, `summary.py` prints it.
"""
